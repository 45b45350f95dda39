"""What scripts do to a session, course by course: what there is before, and the arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from miniagent_redis.models import ThreadSlice, new_id
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import GRACE_MS
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.scripts import source
from tests.support.words import said

Store = RedisSessionManager
Call = tuple[str, list[Any]]  # a script's name and its arguments from the fifth on
Course = Callable[[Store, ManualClock], Call]
LEASE_MS = 30_000
LARGEST = 1_000_000
TTL = 3600


def run(store: Store, clock: ManualClock, call: Call, client: redis.Redis | None = None) -> Any:
    """Run a script on the session "s" as it is; return its reply from the status on."""
    name, args = call
    text = source(name)
    if store.parts.core.connections.is_memory:
        text = text.replace("#!lua", "-- #!lua", 1)  # fakeredis does not know the line
    keys: list[Any] = store.parts.core.keys.of_session("s")
    head: list[Any] = ["nonce", round(clock.time() * 1000), GRACE_MS, ""]
    reply: Any = (client or store.client).eval(text, len(keys), *keys, *head, *args)
    assert reply[0] == b"nonce"
    return reply[1:]


def prepare(store: Store) -> None:
    """Give the session "s" a thread, and operations that are remembered."""
    store.create_session("s", {"a": 1}, user_id="ada")
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])


def begin(how: str = "", message: str = "two", known: ThreadSlice | None = None) -> Call:
    have = (known.epoch, known.count, known.mark) if known else ("", 0, "")
    return "begin_turn", ["t", "h", LEASE_MS, how, LARGEST, *have, 100, "", message]


def commit(*messages: str, counts: str = "", tokens: int = 0) -> Call:
    return "commit_turn", ["t", "h", LARGEST, tokens, tokens, tokens, 1, counts, *messages]


def stage(*messages: str) -> Call:
    return "stage_step", ["t", "h", LEASE_MS, LARGEST, 1, *messages]


def abort(why: str, counts: str) -> Call:
    return "abort_turn", ["t", "h", why, counts, 0, 0, 2**52]


def _replay(store: Store, clock: ManualClock) -> Call:
    thread = store.load_thread("s")
    args = [LARGEST, 1, 2, 3, thread.epoch, thread.version, 1, "ms 5", "two", "2"]
    return "replay_turn", ["t", "h", *args]


def _changed(call: Call, place: int, value: Any) -> Call:
    name, args = call
    return name, [*args[:place], value, *args[place + 1 :]]


def _begin_with_own_id(store: Store, clock: ManualClock) -> Call:
    return _changed(begin(), 9, "?")  # it is not known to be new


def _begin_near_the_end(store: Store, clock: ManualClock) -> Call:
    clock.advance(TTL - 1)
    return begin()


def _take_over(store: Store, clock: ManualClock) -> Call:
    store.begin_turn("s", "two")
    clock.advance(LEASE_MS / 1000)
    return begin(message="")


def _interrupt(store: Store, clock: ManualClock) -> Call:
    store.begin_turn("s", "two")
    return begin(how="interrupt")


def _create(store: Store, clock: ManualClock) -> Call:
    clock.advance(TTL)
    return "create_session", [new_id(), "{}", 1000, 0, "Bo", "", "session_updates", "note"]


def _delete_as_it_was_read(store: Store, clock: ManualClock) -> Call:
    seal = run(store, clock, ("read_session", []))[1]
    return "delete_session", [new_id(), "session_updates", "note", seal]


def _move_messages(store: Store, clock: ManualClock) -> Call:
    clock.advance(TTL)
    return "move_records", ["move", "", 0, TTL * 1000, "a", "b"]


def _move_session(store: Store, clock: ManualClock) -> Call:
    run(store, clock, _move_messages(store, clock))
    fields = [4, "ttl", 1000, 4, "max_end", 0, 5, "1", "op 1 "]
    return "move_session", ["move", 2, 1, 1000, "session_updates", "note", "{}", *fields]


def _expire(store: Store, clock: ManualClock) -> Call:
    clock.advance(TTL)
    deadline: Any = store.client.hget("metadata:{s}", "deadline")
    return "expire_session", [deadline.decode(), "session_updates", "note"]


def _abort_one_that_is_gone(store: Store, clock: ManualClock) -> Call:
    run(store, clock, begin())
    store.begin_turn("s", "three", on_busy="interrupt")
    return abort("", "ms 5")


def _truncate(store: Store, clock: ManualClock) -> Call:
    thread = store.load_thread("s")
    keep = thread.count - 1
    return "truncate_thread", [
        new_id(),
        str(thread.epoch),
        thread.version,
        keep,
        "note",
        "12345",
        "",
    ]


def _set_title(store: Store, clock: ManualClock) -> Call:
    made: Any = store.client.hget("metadata:{s}", "created_at")
    version = store.session_state("s").version
    return "set_title", ["op", "{}", made.decode(), version, "", "session_updates", "note"]


def _trim(store: Store, clock: ManualClock) -> Call:
    store.commit_turn(store.begin_turn("s", "two"), [said("2")])
    return "trim_thread", [str(store.load_thread("s").epoch), 0, 1, 1]


def _repair_counters(store: Store, clock: ManualClock) -> Call:
    thread = store.load_thread("s")
    return "repair_counters", [new_id(), thread.epoch, thread.version, 2, 10]


def _repair_expiry(store: Store, clock: ManualClock) -> Call:
    for key in store.parts.core.keys.of_session("s"):
        store.client.persist(key)
    return "repair_expiry", []


def line_up(*tickets: str) -> Call:
    how = " ".join(tickets)
    return "begin_turn", ["t2", "h2", LEASE_MS, how, LARGEST, "", 0, "", 100, "", "three"]


def _begin_from_the_queue(store: Store, clock: ManualClock) -> Call:
    for call in (begin(), line_up("aa", "bb"), abort("", "")):
        run(store, clock, call)
    return line_up("aa", "bb")


def _leave_the_queue(store: Store, clock: ManualClock) -> Call:
    run(store, clock, begin())
    run(store, clock, line_up("aa", "bb"))
    return "leave_queue", ["aa"]


def _begun(call: Call) -> Course:
    """Return the course of a script on a turn that was begun."""

    def course(store: Store, clock: ManualClock) -> Call:
        run(store, clock, begin())
        return call

    return course


def _replay_the_open_turn(store: Store, clock: ManualClock) -> Call:
    run(store, clock, begin())
    return _replay(store, clock)


def _begin_what_is_done(store: Store, clock: ManualClock) -> Call:
    run(store, clock, begin())
    run(store, clock, commit("2"))
    return _changed(_begin_with_own_id(store, clock), 1, "another holder")


def _commit_nothing_staged(store: Store, clock: ManualClock) -> Call:
    run(store, clock, begin())
    store.client.delete("turn:{s}")
    return _changed(commit("2"), 6, 0)


def _begin_with_a_thread_cut_short(store: Store, clock: ManualClock) -> Call:
    store.client.rpop("thread:{s}")
    return begin()


def _begin_with_damage(store: Store, clock: ManualClock) -> Call:
    store.client.hset("metadata:{s}", "turns", "x")
    return begin()


def _begin_late(store: Store, clock: ManualClock) -> Call:
    clock.advance(TTL)
    return begin()


def _begin_beside_another(store: Store, clock: ManualClock) -> Call:
    store.begin_turn("s", "x")
    return begin()


REFUSING: dict[str, tuple[str, Course]] = {
    "a turn runs": ("busy", _begin_beside_another),
    "the turn is stored": ("done", _begin_what_is_done),
    "there is nothing to resume": ("none", lambda store, clock: begin(message="")),
    "the message is too large": ("toolarge", lambda store, clock: _changed(begin(), 4, 1)),
    "messages are lost": ("miscounted", _begin_with_a_thread_cut_short),
    "a number is lost": ("damaged", _begin_with_damage),
    "the session has expired": ("notfound", _begin_late),
    "the turn was never begun": ("superseded", lambda store, clock: commit("2")),
    "a step is missing": ("superseded", _begun(_changed(commit("2"), 6, 2))),
    "the answer is too large": ("toolarge", _begun(_changed(commit("2"), 2, 1))),
}
"""Answers of the scripts of every turn that change nothing, by what they are for."""

PARK: Call = ("park_turn", ["t", "h", 1, 9000, " acall", "told"])


def _parked(call: Call) -> Course:
    def course(store: Store, clock: ManualClock) -> Call:
        run(store, clock, begin())
        run(store, clock, PARK)
        return call

    return course


COURSES: dict[str, Course] = {
    "begin": lambda store, clock: begin(),
    "begin twice": _begun(begin()),
    "begin with an id of one's own": _begin_with_own_id,
    "begin near the session's end": _begin_near_the_end,
    "take over": _take_over,
    "interrupt": _interrupt,
    "begin from the queue": _begin_from_the_queue,
    "leave the queue": _leave_the_queue,
    "commit": _begun(commit("2")),
    "commit without an answer": _begun(commit()),
    "commit with nothing staged": _commit_nothing_staged,
    "commit with counts": _begun(commit("2", counts="ms 5", tokens=1)),
    "stage": _begun(stage("a", "b")),
    "renew": _begun(stage()),
    "tell": _begun(("tell_text", ["t", "h", "op", "1", "text"])),
    "abort": _begun(abort("", "")),
    "abort with counts": _begun(abort("why", "ms 5")),
    "abort one that is gone": _abort_one_that_is_gone,
    "park": _begun(PARK),
    "answer": _parked(("answer_turn", ["t", LARGEST, "call", "result"])),
    "approve": _parked(("answer_turn", ["t", LARGEST, "call", ""])),
    "cancel": _begun(("cancel_turn", [new_id(), ""])),
    "replay": _replay,
    "replay the open turn": _replay_the_open_turn,
    "append": lambda store, clock: ("append_messages", [new_id(), LARGEST, "", "", "a", "b"]),
    "truncate": _truncate,
    "note a branch": lambda store, clock: ("note_branch", ["b", 100, 9000]),
    "set a title": _set_title,
    "clear": lambda store, clock: ("clear_thread", [new_id()]),
    "trim": _trim,
    "touch": lambda store, clock: ("touch_session", [9000]),
    "update": lambda store, clock: ("update_session", [new_id(), "{}", "", "", ""]),
    "delete": lambda store, clock: ("delete_session", [new_id(), "session_updates", "note", ""]),
    "forget": lambda store, clock: ("forget_session", [new_id(), "session_updates", "note"]),
    "delete as it was read": _delete_as_it_was_read,
    "move messages": _move_messages,
    "move a session": _move_session,
    "create anew": _create,
    "expire": _expire,
    "repair the counters": _repair_counters,
    "repair the expiry": _repair_expiry,
}
"""Each script that writes, in each way in which it writes."""
