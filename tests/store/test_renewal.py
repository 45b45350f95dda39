"""After a login the conversation goes on under a new id, and the old one is worth nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from attrs import evolve

from miniagent_redis.crypto import EncryptionKeyMissing
from miniagent_redis.doctor.fsck import check
from miniagent_redis.errors import (
    InvalidInput,
    MiniAgentError,
    OutcomeUnknown,
    RecordUnreadable,
    SessionBusy,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
)
from miniagent_redis.models import Message, UsageTotals, new_id
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import moving, renewal
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.calls import call_store, of_sessions
from tests.support.keys import NEW, OLD, text
from tests.support.stored import dump
from tests.support.trimmed import LARGEST, fill
from tests.support.waiting import until
from tests.support.words import OpenStore, call, lines, result, said

Store = RedisSessionManager
LEASE = 31
HOUR = 3600
EXCHANGE = [call("1"), result("1"), said("done")]


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    """Make a session of nobody's, with a turn that used a tool, and a message behind it."""
    store.create_session("s", {"cart": [1]}, 9000, agent_name="Bot")
    turn = store.begin_turn("s", "one", turn_id="t1")
    spent = UsageTotals(input_tokens=5, output_tokens=3, tool_calls=1, reasoning_tokens=2)
    store.commit_turn(turn, EXCHANGE, spent=spent)
    store.append_to_thread("s", Message("user", "two"), operation_id="op")


def is_gone(store: Store, session_id: str) -> bool:
    """Whether all that is left of a session is the word of its end, which is kept a minute."""
    left = [key for key in dump(store.client) if f"{{{session_id}}}" in key]
    return left in ([], [f"ops:{{{session_id}}}"])


def sessions(store: Store) -> list[str]:
    return [entry["session_id"] for entry in store.list_sessions()]


# --- what comes along, and what does not -----------------------------------------------------


def test_the_new_session_is_the_old_one_by_another_id(store: Store, clock: ManualClock) -> None:
    before, thread = store.session_state("s"), store.load_thread("s")
    usage = store.usage(session_id="s")
    clock.advance(5)
    renewed = store.renew_session_id("s")
    after = store.session_state(renewed)
    assert after == evolve(
        before,
        session_id=renewed,
        last_activity=pytest.approx(clock.time(), abs=0.01),
        expires_at=pytest.approx(clock.time() + 9000, abs=0.01),
    )
    assert store.load_thread(renewed) == thread
    assert store.usage(session_id=renewed) == usage
    assert store.get_session(renewed) == {"cart": [1]}
    assert sessions(store) == [renewed]
    assert check(store) == []


def test_the_new_id_is_random_as_a_rule(store: Store) -> None:
    assert re.fullmatch("[0-9a-f]{32}", store.renew_session_id("s"))


@pytest.mark.parametrize("name", tuple(of_sessions()))
def test_the_old_id_is_worth_nothing(store: Store, name: str) -> None:
    store.renew_session_id("s")
    before = dump(store.client)
    with suppress(SessionNotFound):
        assert call_store(name, store, "s", None) in (None, False)
    assert dump(store.client) == before
    assert is_gone(store, "s")


def test_what_comes_late_with_the_old_id_is_refused(store: Store, clock: ManualClock) -> None:
    turn = store.begin_turn("s", "three")
    clock.advance(LEASE)  # its holder sleeps
    renewed = store.renew_session_id("s")
    for late in (
        lambda: store.stage_step(turn, [call("2")]),
        lambda: store.commit_turn(turn, [said("late")]),
        lambda: store.replay_turn(evolve(turn, staged=(*turn.staged, said("late")))),
        lambda: store.append_to_thread("s", Message("user", "late")),
    ):
        with pytest.raises(SessionNotFound):
            late()
    assert len(lines(store, renewed)) == 5


def test_an_abandoned_turn_is_gone_on_with_under_the_new_id(
    store: Store, clock: ManualClock
) -> None:
    store.stage_step(store.begin_turn("s", "three", turn_id="t2"), [call("2"), result("2")])
    clock.advance(LEASE)
    renewed = store.renew_session_id("s", new_user_id="ada")
    assert store.session_state(renewed).open_turn == "t2"
    resumed = store.resume_turn(renewed)
    assert resumed is not None
    assert [message.role for message in resumed.staged] == ["user", "assistant", "tool"]
    store.commit_turn(resumed, [said("fine")])
    assert lines(store, renewed)[-4:] == ["user:three", "assistant:", "tool:ok", "assistant:fine"]
    assert check(store) == []


def test_a_part_of_the_copy_that_arrives_again_late_changes_nothing(
    store: Store, client: redis.Redis, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.stage_step(store.begin_turn("s", "three"), [call("2"), result("2")])
    clock.advance(LEASE)  # the turn is left behind, and its messages come in a part of their own
    monkeypatch.setattr(moving, "_PAGE", 5)
    parts: list[tuple[Any, ...]] = []
    run = store.parts.core.scripts.run

    def note(*sent: Any, **options: Any) -> Any:
        if sent[0] == "move_records":
            parts.append(sent)
        return run(*sent, **options)

    monkeypatch.setattr(store.parts.core.scripts, "run", note)
    renewed = store.renew_session_id("s")
    assert len(parts) == 2
    before, thread = dump(client), lines(store, renewed)
    for part in parts:
        run(*part)
        assert dump(client) == before
    assert lines(store, renewed) == thread
    assert client.pexpiretime(f"thread:{{{renewed}}}") > (clock.time() + 9000) * 1000


def test_operations_are_remembered_under_the_new_id(store: Store) -> None:
    renewed = store.renew_session_id("s")
    assert store.resolve_turn(renewed, "t1") == "committed"
    assert store.append_to_thread(renewed, Message("user", "two"), operation_id="op") == 3
    assert len(lines(store, renewed)) == 5
    with pytest.raises(InvalidInput):
        store.begin_turn(renewed, "one", turn_id="t1")


def test_the_conversation_goes_on(store: Store) -> None:
    renewed = store.renew_session_id("s")
    turn = store.begin_turn(renewed, "three")
    assert len(turn.thread.messages) == 5
    store.commit_turn(turn, [said("3")])
    assert lines(store, renewed)[5:] == ["user:three", "assistant:3"]
    told = store.read_events(renewed)
    assert [event.type.value for event in told] == [
        "session_created", "turn_started", "agent_response",
    ]  # fmt: skip


def test_it_becomes_that_of_who_logged_in(store: Store) -> None:
    renewed = store.renew_session_id("s", new_user_id="ada")
    assert store.session_state(renewed, user_id="ada").user_id == "ada"
    assert [entry["session_id"] for entry in store.list_sessions("ada")] == [renewed]
    with pytest.raises(SessionNotFound):
        store.load_thread(renewed, user_id="eve")
    again = store.renew_session_id(renewed, user_id="ada")
    assert store.session_state(again).user_id == "ada"
    assert [entry["session_id"] for entry in store.list_sessions("ada")] == [again]
    bobs = store.renew_session_id(again, user_id="ada", new_user_id="bob")
    assert list(store.list_sessions("ada")) == []
    assert store.session_state(bobs).user_id == "bob"


@pytest.mark.parametrize("ttl", ["9h", "never", 60])
def test_its_end_stays(open_store: OpenStore, clock: ManualClock, ttl: Any) -> None:
    store = open_store(session_max_age=None if ttl == "never" else 2 * HOUR)
    store.create_session("x", ttl=ttl)
    clock.advance(30)
    expected = store.session_state("x").expires_at
    if ttl == 60:
        expected = pytest.approx(clock.time() + 60, abs=0.01)
    renewed = store.renew_session_id("x")
    assert store.session_state(renewed).expires_at == expected
    kept = {key for key, (_, _, end) in dump(store.client).items() if f"{{{renewed}}}" in key}
    assert kept == {f"{name}:{{{renewed}}}" for name in ("session", "metadata", "ops")}
    clock.advance(HOUR - 1)
    store.sweep()
    assert (store.get_session(renewed) is None) == (ttl == 60)


def test_long_threads_and_ids_that_are_no_names_move_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PAGE_BYTES", 500)
    store.append_to_thread("s", [Message("user", f"{n} " * n) for n in range(1, 100)])
    thread = store.load_thread("s")
    name = "wär/{e} " * 50
    assert store.renew_session_id("s", new_id=name) == name
    assert store.load_thread(name) == thread
    assert sessions(store) == [name]
    assert check(store) == []
    assert store.load_thread(store.renew_session_id(name)) == thread
    assert check(store) == []


def test_a_trimmed_thread_keeps_its_positions(open_store: OpenStore) -> None:
    store = open_store(max_session_size=LARGEST, on_full="trim")
    store.create_session("x")
    store.create_session("s2")
    store.delete_session("s")
    store.create_session("s")
    fill(store)
    before = store.load_thread("s")
    assert before.head
    renewed = store.renew_session_id("s")
    assert store.load_thread(renewed) == before
    assert store.session_state(renewed).head == before.head


def test_an_unreadable_message_moves_as_it_is(store: Store, client: redis.Redis) -> None:
    client.lset("thread:{s}", 1, "no record")
    renewed = store.renew_session_id("s")
    found = store.load_thread(renewed)
    assert [record.raw for record in found.unreadable] == [b"no record"]
    assert found.indexes == (0, 2, 3, 4)


def test_a_session_that_cannot_be_copied_stays(store: Store, client: redis.Redis) -> None:
    client.rpop("thread:{s}")
    with pytest.raises(RecordUnreadable):
        store.renew_session_id("s")
    assert store.get_session("s") == {"cart": [1]}
    client.set("session:{s}", "no document")
    with pytest.raises(RecordUnreadable):
        store.renew_session_id("s")
    assert sessions(store) == ["s"]


def test_encrypted_records_are_bound_to_the_new_id(open_store: OpenStore) -> None:
    store = open_store(encryption_keys=text(old=OLD))
    store.create_session("x", {"secret": 1})
    store.stage_step(store.begin_turn("x", "said"), [call("1")])
    store.client.hset("metadata:{x}", "lease", 0)
    store.append_to_thread("x", Message("user", "kept"))
    renewed = store.renew_session_id("x")
    assert store.get_session(renewed) == {"secret": 1}
    assert lines(store, renewed) == ["user:kept"]
    resumed = store.resume_turn(renewed)
    assert resumed is not None
    assert resumed.staged[0].text == "said"
    assert store.unreadable_records == 0


def test_a_message_whose_key_is_missing_keeps_the_session_where_it_is(
    open_store: OpenStore,
) -> None:
    """Bound to its place, it could be read nowhere else, not even when the key is found."""
    open_store(encryption_keys=text(old=OLD)).create_session("x")
    open_store(encryption_keys=text(old=OLD)).append_to_thread("x", Message("user", "kept"))
    both = open_store(encryption_keys=text(new=NEW, old=OLD))
    both.update_session("x", {"a": 1})
    with pytest.raises(EncryptionKeyMissing):
        open_store(encryption_keys=text(new=NEW)).renew_session_id("x")
    assert lines(both, "x") == ["user:kept"]
    assert lines(both, both.renew_session_id("x")) == ["user:kept"]


# --- refused ---------------------------------------------------------------------------------


def test_while_a_turn_runs_it_is_refused(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("s", "three")
    before = dump(client)
    with pytest.raises(SessionBusy) as caught:
        store.renew_session_id("s")
    assert 0 < caught.value.lease_remaining <= LEASE
    assert dump(client) == before
    store.commit_turn(turn, [said("3")])
    assert len(lines(store, store.renew_session_id("s"))) == 7


def test_an_id_that_is_taken_is_refused(store: Store, clock: ManualClock) -> None:
    store.create_session("t", {"b": 1})
    for taken, error in (("t", SessionExists), ("s", InvalidInput), ("", InvalidInput)):
        with pytest.raises(error):
            store.renew_session_id("s", new_id=taken)
    store.delete_session("t")
    with pytest.raises(SessionExists):  # what is repeated for the one that was would meet this one
        store.renew_session_id("s", new_id="t")
    clock.advance(61)
    assert store.renew_session_id("s", new_id="t") == "t"
    assert store.get_session("t") == {"cart": [1]}


def test_of_two_at_once_one_is_told_that_there_is_no_session(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store()
    won = []
    end = store.parts.sessions.end

    def end_late(*args: Any) -> bool:
        monkeypatch.undo()
        won.append(other.renew_session_id("s"))
        return end(*args)

    monkeypatch.setattr(store.parts.sessions, "end", end_late)
    with pytest.raises(SessionNotFound):
        store.renew_session_id("s")
    assert sessions(store) == won
    assert check(store) == []


# --- others, meanwhile -----------------------------------------------------------------------


def meanwhile(store: Store, patch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
    """Have others act, one after the other, behind each copy and before the old one is removed."""
    end, left = store.parts.sessions.end, list(acts)

    def end_late(*args: Any) -> bool:
        if left:
            left.pop(0)()
        return end(*args)

    patch.setattr(store.parts.sessions, "end", end_late)


def test_what_others_write_meanwhile_comes_along(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store()
    meanwhile(
        store,
        monkeypatch,
        lambda: other.append_to_thread("s", Message("user", "three")),
        lambda: other.patch_session("s", {"b": 2}),
        lambda: other.extend_session_ttl("s", 99),
        lambda: other.commit_turn(other.begin_turn("s", "four"), [said("4")]),
        lambda: other.abort_turn(other.begin_turn("s", "no"), spent=UsageTotals(input_tokens=9)),
        lambda: other.truncate_thread("s", 6),
    )
    renewed = store.renew_session_id("s")
    assert lines(store, renewed)[4:] == ["user:two", "user:three"]
    assert store.get_session(renewed) == {"cart": [1], "b": 2}
    state = store.session_state(renewed)
    assert (state.turns, state.input_tokens) == (2, 14)
    assert sessions(store) == [renewed]
    assert check(store) == []


def test_titles_and_branches_that_are_made_meanwhile_come_along(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store()
    branches = [other.fork_session("s", "t1")]
    meanwhile(
        store,
        monkeypatch,
        lambda: other.set_title("s", "A trip"),
        lambda: branches.append(other.fork_session("s", "t1")),
        lambda: branches.append(other.fork_session("s", "t1")),
    )
    renewed = store.renew_session_id("s")
    assert store.session_state(renewed).title == "A trip"
    told = [branch["session_id"] for branch in store.list_branches(renewed)]
    assert sorted(told) == sorted(branches)


def test_a_turn_that_begins_meanwhile_goes_on(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, begun = open_store(), []
    meanwhile(store, monkeypatch, lambda: begun.append(other.begin_turn("s", "three")))
    with pytest.raises(SessionBusy):
        store.renew_session_id("s")
    other.commit_turn(begun[0], [said("3")])
    assert lines(store)[-2:] == ["user:three", "assistant:3"]
    assert sessions(store) == ["s"]


def test_who_writes_on_and_on_keeps_the_session(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store()
    meanwhile(store, monkeypatch, *[lambda: other.update_session("s", {})] * renewal._TRIES)
    with pytest.raises(SessionBusy):
        store.renew_session_id("s")
    assert sessions(store) == ["s"]
    monkeypatch.undo()
    store.parts.index.flush()
    assert check(store) == []


def test_watchers_of_the_old_id_are_told_its_end_and_programs_of_both(real_store: Store) -> None:
    real_store.create_session("w")
    with Store(real_store.config) as listener:
        seen: list[Any] = []
        watching = threading.Thread(target=lambda: seen.extend(listener.watch("w", "", 20)))
        watching.start()
        until(lambda: seen)
        listener.subscribe(["session_updates"])
        renewed = real_store.renew_session_id("w")
        watching.join(20)
        assert not watching.is_alive()
        listener.publish("session_updates", "end")
        told = []
        for message in listener.get_messages(timeout=20):
            if message["data"] == "end":
                break
            told.append((message["data"]["session_id"], message["data"]["event"]))
        assert told == [(renewed, "session_created"), ("w", "session_ended")]


def test_who_writes_while_the_id_changes_again_and_again_loses_nothing(real_store: Store) -> None:
    """An append that is repeated under the new id is done once: what was done comes along."""
    real_store.create_session("id-0")
    current = ["id-0"]

    def write(writer: int) -> None:
        for number in range(60):
            operation = f"{writer}-{number}"
            while True:
                try:
                    message = Message("user", operation)
                    real_store.append_to_thread(current[0], message, operation_id=operation)
                    break
                except SessionNotFound:
                    continue

    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        with suppress(SessionBusy):  # they write on and on
            current[0] = real_store.renew_session_id(current[0], new_id=f"id-{new_id()}")
    current[0] = real_store.renew_session_id(current[0])
    said = lines(real_store, current[0])
    for writer in range(2):
        assert [one for one in said if one.startswith(f"user:{writer}-")] == [
            f"user:{writer}-{number}" for number in range(60)
        ]
    assert {name for name in sessions(real_store) if name != "s"} == {current[0]}


# --- broken off ------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


def die(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize("step", ["_copied", "_put"])
def test_who_dies_before_the_end_of_the_old_one_leaves_it_whole(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(store.parts.renewal, step, die)
    with pytest.raises(Killed):
        store.renew_session_id("s", new_id="n")
    monkeypatch.undo()
    assert store.renew_session_id("s", new_id="m") == "m"


def test_who_dies_over_a_part_of_the_messages_leaves_what_expires(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_PAGE", 2)
    monkeypatch.setattr(moving, "move_session", die)
    with pytest.raises(Killed):
        store.renew_session_id("s", new_id="n")
    assert all(client.pexpiretime(key) > 0 for key in ("thread:{n}", "metadata:{n}"))
    with pytest.raises(SessionNotFound):
        store.load_thread("n")
    monkeypatch.undo()
    assert len(lines(store)) == 5
    assert store.renew_session_id("s", new_id="n") == "n"  # nobody has it yet
    assert len(lines(store, "n")) == 5


def test_a_copy_that_was_left_behind_expires_in_an_hour(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.parts.sessions, "end", die)
    with pytest.raises(Killed):
        store.renew_session_id("s", new_id="n")
    monkeypatch.undo()
    assert lines(store) == lines(store, "n")
    with pytest.raises(SessionExists):  # perhaps another call is under way to there
        store.renew_session_id("s", new_id="n")
    assert store.get_session("s")
    clock.advance(HOUR + 1)
    assert store.get_session("n") is None
    assert store.sweep() == 1
    assert sessions(store) == ["s"]


def test_who_dies_behind_the_end_of_the_old_one_leaves_the_new_one_to_its_owner(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.parts.renewal, "_used", die)
    with pytest.raises(Killed):
        store.renew_session_id("s", new_user_id="ada")
    monkeypatch.undo()
    (left,) = store.list_sessions("ada")
    store.touch_session(left["session_id"])  # any use gives it its whole time to live
    clock.advance(2 * HOUR)
    assert store.sweep() == 0
    assert len(lines(store, left["session_id"])) == 5


def test_who_gives_the_new_id_can_repeat_the_call(store: Store) -> None:
    assert store.renew_session_id("s", new_id="n", new_user_id="ada") == "n"
    assert store.renew_session_id("s", new_id="n", new_user_id="ada") == "n"
    with pytest.raises(SessionNotFound):
        store.renew_session_id("s", new_id="n", user_id="eve")
    with pytest.raises(SessionNotFound):  # the old one knows nothing of the new one
        store.renew_session_id("s")
    store.create_session("other")
    with pytest.raises(SessionNotFound):
        store.renew_session_id("s", new_id="other")


def test_redis_that_goes_away_behind_the_end_takes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("Redis is away")

    monkeypatch.setattr(renewal, "touch_session", away)
    renewed = store.renew_session_id("s")
    monkeypatch.undo()
    assert len(lines(store, renewed)) == 5


@pytest.mark.parametrize("script", ["move_records", "move_session", "delete_session"])
def test_no_answer_at_all_leaves_one_of_them_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    run = store.parts.core.scripts.run

    def unanswered(name: str, *args: Any, **kwargs: Any) -> Any:
        reply = run(name, *args, **kwargs)
        if name == script:
            raise OutcomeUnknown(name, "no reply")
        return reply

    monkeypatch.setattr(store.parts.core.scripts, "run", unanswered)
    with pytest.raises(MiniAgentError):
        store.renew_session_id("s", new_id="n")
    monkeypatch.undo()
    if script == "delete_session":
        assert store.renew_session_id("s", new_id="n") == "n"
        assert len(lines(store, "n")) == 5
    else:
        assert len(lines(store)) == 5
