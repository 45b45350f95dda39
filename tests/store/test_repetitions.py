"""A reply is lost, others do much, and only then the operation is repeated: it is one effect.

Or none, and it is told that nobody knows; and never one on another session of the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import redis
from attrs import evolve

from miniagent_redis.errors import (
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
)
from miniagent_redis.models import EventType, Message, OnBusy, OpenTurn, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.scripts import source
from tests.support.lost import losing
from tests.support.stored import dump
from tests.support.waiting import LIMIT, until
from tests.support.words import OpenStore, lines, said

Store = RedisSessionManager
MINE = Message("user", "mine")
OTHERS = 70


@pytest.fixture
def other(open_store: OpenStore, store: Store) -> Store:
    """Return a store of somebody else; the session "s" has two messages."""
    store.create_session("s", {"n": 0})
    store.append_to_thread("s", [said("0"), said("1")])
    return open_store()


@pytest.fixture
def much(other: Store, clock: ManualClock) -> Callable[[], None]:
    """Return what others do meanwhile: more than the server remembers."""

    def act() -> None:
        for n in range(OTHERS):
            clock.advance(0.001)
            other.append_to_thread("s", Message("user", f"other {n}"))

    return act


@pytest.fixture
def anew(other: Store, clock: ManualClock) -> Callable[[], None]:
    """Return what ends the session and makes another one of the same id."""

    def act() -> None:
        clock.advance(0.05)
        other.delete_session("s")
        clock.advance(0.05)
        other.create_session("s", {"of": "bob"}, user_id="bob")
        other.append_to_thread("s", Message("user", "bob's"))
        clock.advance(0.05)

    return act


def append(store: Store) -> int:
    return store.append_to_thread("s", MINE)


def take_over(other: Store, clock: ManualClock) -> OpenTurn:
    """Take over the open turn when its lease has ended."""
    clock.advance(31)
    resumed = other.resume_turn("s")
    assert resumed is not None
    return resumed


def finish(other: Store, clock: ManualClock) -> None:
    """Take over the open turn and answer it."""
    other.commit_turn(take_over(other, clock), [said("answer")])


WRITES: dict[str, tuple[str, Callable[[Store], object]]] = {
    "append": ("append_messages", append),
    "append by id": (
        "append_messages",
        lambda store: store.append_to_thread("s", MINE, operation_id="webhook"),
    ),
    "clear": ("clear_thread", lambda store: store.clear_thread("s")),
    "truncate": ("truncate_thread", lambda store: store.truncate_thread("s", 1)),
    "update": ("update_session", lambda store: store.update_session("s", {"n": 1})),
    "touch": ("touch_session", lambda store: store.touch_session("s")),
    "extend": ("touch_session", lambda store: store.extend_session_ttl("s", 99)),
    "cancel": ("cancel_turn", lambda store: store.cancel_turn("s")),
    "begin": ("begin_turn", lambda store: store.begin_turn("s", "mine")),
    "interrupt": ("begin_turn", lambda store: store.begin_turn("s", "mine", on_busy="interrupt")),
    "delete": ("delete_session", lambda store: store.delete_session("s")),
    "create": ("create_session", lambda store: store.create_session("s")),
}


# --- more was done than is remembered -------------------------------------------------------------


def test_an_append_is_found_in_the_thread(store: Store, much: Callable[[], None]) -> None:
    with losing(store, "append_messages", much):
        append(store)
    assert lines(store).count("user:mine") == 1
    assert len(lines(store)) == 3 + OTHERS


def test_an_append_that_was_cleared_away_since_does_not_come_back(
    store: Store, other: Store, much: Callable[[], None]
) -> None:
    def meanwhile() -> None:
        other.clear_thread("s")
        much()

    with losing(store, "append_messages", meanwhile), pytest.raises(TurnUncertain) as caught:
        append(store)
    assert "user:mine" not in lines(store)
    assert "forgotten" in str(caught.value)


def test_a_clear_leaves_what_others_said_since(store: Store, much: Callable[[], None]) -> None:
    with losing(store, "clear_thread", much), pytest.raises(TurnUncertain):
        store.clear_thread("s")
    assert len(lines(store)) == OTHERS


def test_a_cut_leaves_what_others_said_since(store: Store, much: Callable[[], None]) -> None:
    with losing(store, "truncate_thread", much), pytest.raises(TurnUncertain):
        store.truncate_thread("s", 1)
    assert len(lines(store)) == 1 + OTHERS


def test_an_update_leaves_what_is_newer(store: Store, other: Store) -> None:
    def meanwhile() -> None:
        for n in range(OTHERS):
            other.update_session("s", {"n": 100 + n})

    with losing(store, "update_session", meanwhile), pytest.raises(TurnUncertain):
        store.update_session("s", {"n": 1})
    assert store.get_session("s") == {"n": 99 + OTHERS}


def test_a_session_that_others_worked_on_since_is_not_created_again(
    store: Store, other: Store
) -> None:
    def meanwhile() -> None:
        for _ in range(OTHERS):
            other.append_to_thread("new", said("x"))

    with losing(store, "create_session", meanwhile), pytest.raises(TurnUncertain):
        store.create_session("new")
    assert len(lines(store, "new")) == OTHERS


def test_a_commit_is_found_in_the_thread_and_counted_once(
    store: Store, much: Callable[[], None]
) -> None:
    turn = store.begin_turn("s", "mine")
    with losing(store, "commit_turn", much):
        store.commit_turn(turn, [said("answer")], spent=UsageTotals(turns=1))
    assert lines(store)[2:4] == ["user:mine", "assistant:answer"]
    assert store.session_state("s").turns == 1


def test_a_commit_of_which_nothing_is_there_was_superseded(
    store: Store, other: Store, much: Callable[[], None]
) -> None:
    turn = store.begin_turn("s", "mine")
    store.abort_turn(turn)
    with losing(store, "commit_turn", much), pytest.raises(TurnSuperseded):
        store.commit_turn(turn, [said("answer")])
    assert "assistant:answer" not in lines(store)


def test_a_turn_that_others_finished_and_forgot_is_not_begun_again(
    store: Store, other: Store, clock: ManualClock, much: Callable[[], None]
) -> None:
    def meanwhile() -> None:
        finish(other, clock)
        much()

    with losing(store, "begin_turn", meanwhile), pytest.raises(TurnSuperseded):
        store.begin_turn("s", "mine")
    assert lines(store).count("user:mine") == 1
    assert store.session_state("s").open_turn is None


def test_a_turn_that_others_interrupted_since_is_not_begun_again(
    store: Store, other: Store, clock: ManualClock
) -> None:
    def meanwhile() -> None:
        clock.advance(0.05)
        other.begin_turn("s", "theirs", on_busy="interrupt")

    with losing(store, "begin_turn", meanwhile), pytest.raises(TurnSuperseded):
        store.begin_turn("s", "mine", on_busy="interrupt")
    begun = [e for e in other.read_events("s") if e.type is EventType.TURN_STARTED]
    assert [event.data["message"]["content"] for event in begun] == ["mine", "theirs"]


def test_nobody_knows_of_a_turn_that_may_have_been_cleared_away(
    store: Store, other: Store, clock: ManualClock, much: Callable[[], None]
) -> None:
    def meanwhile() -> None:
        finish(other, clock)
        other.clear_thread("s")
        much()

    with losing(store, "begin_turn", meanwhile), pytest.raises(TurnUncertain):
        store.begin_turn("s", "mine")
    assert store.session_state("s").open_turn is None


def test_a_turn_stored_late_is_not_superseded_by_a_session_that_was_made_since(
    store: Store, anew: Callable[[], None]
) -> None:
    turn = store.begin_turn("s", "mine")
    with losing(store, "replay_turn", anew), pytest.raises(SessionNotFound):
        store.replay_turn(evolve(turn, staged=(*turn.staged, said("answer"))))
    assert lines(store) == ["user:bob's"]


BY_LOOKING: dict[str, tuple[str, Callable[[Store, OpenTurn], object]]] = {
    "append_messages": ("find", lambda store, turn: store.append_to_thread("s", MINE)),
    "begin_turn": ("find_turn", lambda store, turn: store.begin_turn("s", "another")),
    "commit_turn": ("load_thread", lambda store, turn: store.commit_turn(turn, [said("answer")])),
}


@pytest.mark.parametrize("script", BY_LOOKING)
def test_an_outage_while_it_is_looked_for_does_not_say_that_it_was_not_done(
    store: Store,
    other: Store,
    much: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    script: str,
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("no Redis answers", cause="it was killed", hint="start it")

    turn = store.begin_turn("s", "one")
    if script == "begin_turn":
        store.commit_turn(turn, [said("answer")])

    def meanwhile() -> None:
        if script == "begin_turn":
            other.begin_turn("s", "theirs", on_busy="interrupt")
        elif script == "commit_turn":
            other.begin_turn("s", "theirs")
        much()

    look, write = BY_LOOKING[script]
    monkeypatch.setattr(store.parts.threads, look, away)
    with losing(store, script, meanwhile), pytest.raises(TurnUncertain) as caught:
        write(store, turn)
    monkeypatch.undo()
    found = store.resolve_turn("s", caught.value.turn_id)
    assert found == ("unknown" if script == "begin_turn" else "committed")


def test_a_turn_that_is_looked_for_is_begun_in_no_session_that_was_made_since(
    store: Store, other: Store, clock: ManualClock, anew: Callable[[], None]
) -> None:
    for _ in range(500):  # so that a turn of this id may be in the thread, and forgotten
        other.append_to_thread("s", said("more"))
    find = store.parts.threads.find_turn

    def find_late(*args: Any) -> object:
        found = find(*args)
        anew()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store.parts.threads, "find_turn", find_late)
        with pytest.raises(SessionNotFound):
            store.begin_turn("s", "mine", turn_id="mine", searched=0)
    assert lines(store) == ["user:bob's"]


@pytest.mark.parametrize("is_abandoned", [False, True])
@pytest.mark.parametrize("on_busy", ["wait", "reject", "interrupt"])
def test_a_turn_that_others_finished_is_not_told_to_wait_for_the_next_one(
    store: Store, other: Store, clock: ManualClock, on_busy: OnBusy, is_abandoned: bool
) -> None:
    def meanwhile() -> None:
        finish(other, clock)
        theirs.append(other.begin_turn("s", "theirs"))
        clock.advance(31 if is_abandoned else 1)

    theirs: list[OpenTurn] = []
    with losing(store, "begin_turn", meanwhile), pytest.raises(TurnSuperseded):
        store.begin_turn("s", "mine", on_busy=on_busy, busy_timeout=0)
    assert lines(store)[-2:] == ["user:mine", "assistant:answer"]
    other.commit_turn(theirs[0], [])  # and that one goes on


def test_a_turn_that_others_work_on_is_not_told_to_be_none(
    store: Store, other: Store, clock: ManualClock
) -> None:
    def meanwhile() -> None:
        take_over(other, clock)

    with losing(store, "begin_turn", meanwhile), pytest.raises(TurnSuperseded):
        store.begin_turn("s", "mine", on_busy="reject")


def test_a_turn_that_others_work_on_is_waited_for_so_that_the_thread_shows_it(
    store: Store, other: Store
) -> None:
    theirs: list[OpenTurn] = []

    def meanwhile() -> None:
        other.client.hset("metadata:{s}", "lease", 0)
        resumed = other.resume_turn("s")
        assert resumed is not None
        theirs.append(resumed)

    with ThreadPoolExecutor(1) as pool, losing(store, "begin_turn", meanwhile):
        mine = pool.submit(store.begin_turn, "s", "mine", busy_timeout=LIMIT)
        until(lambda: bool(theirs) and store.parts.core.connections.listening.count > 0)
        other.commit_turn(theirs[0], [said("answer")])
        with pytest.raises(TurnSuperseded):
            mine.result(LIMIT)
    assert lines(store)[-2:] == ["user:mine", "assistant:answer"]


def test_who_asks_for_a_turn_to_take_over_is_told_that_there_is_none(
    store: Store, other: Store, much: Callable[[], None]
) -> None:
    """Whatever was removed since: it is no turn of his that may be among it."""

    def meanwhile() -> None:
        other.clear_thread("s")
        much()

    with losing(store, "begin_turn", meanwhile):
        assert store.resume_turn("s") is None


def test_a_commit_is_not_told_as_stored_when_another_answer_was(
    store: Store, other: Store, clock: ManualClock
) -> None:
    store.config.retry_on_timeout = False  # one try, of which nobody hears
    turn = store.begin_turn("s", "mine")
    resumed = take_over(other, clock)
    with losing(store, "commit_turn"), pytest.raises(TurnUncertain):
        store.commit_turn(turn, [said("my answer")])
    other.commit_turn(resumed, [said("their answer")])
    assert store.resolve_turn("s", turn.turn_id) == "unknown"
    assert other.resolve_turn("s", turn.turn_id) == "committed"
    for n in range(OTHERS):
        other.append_to_thread("s", Message("user", f"other {n}"))
    assert store.resolve_turn("s", turn.turn_id) == "unknown"  # nor when that is forgotten


@pytest.mark.parametrize("then", ["abort", "replay"])
def test_another_answer_is_not_told_as_that_of_whoever_gave_his_commit_up(
    store: Store, other: Store, clock: ManualClock, then: str
) -> None:
    store.config.retry_on_timeout = False  # one try, of which nobody hears
    turn = store.begin_turn("s", "mine")
    resumed = take_over(other, clock)
    with losing(store, "commit_turn"), pytest.raises(TurnUncertain):
        store.commit_turn(turn, [said("my answer")])
    whole = evolve(turn, staged=(*turn.staged, said("my answer")))
    with losing(store, f"{then}_turn"), pytest.raises(TurnUncertain):
        store.abort_turn(turn) if then == "abort" else store.replay_turn(whole)
    other.commit_turn(resumed, [said("their answer")])
    assert store.resolve_turn("s", turn.turn_id) == "unknown"


def test_a_cancellation_ends_no_later_turn(store: Store, other: Store, clock: ManualClock) -> None:
    first, later = store.begin_turn("s", "one"), None

    def meanwhile() -> None:
        nonlocal later
        other.abort_turn(first)
        later = other.begin_turn("s", "two")

    with losing(store, "cancel_turn", meanwhile):
        assert store.cancel_turn("s")
    assert later is not None
    assert not other.renew_lease(later).cancelled


# --- another session has the id now ---------------------------------------------------------------

NOT_THERE = (SessionNotFound, SessionExists, TurnUncertain, StoreUnavailable)


def bobs(store: Store) -> dict[str, Any]:
    return {key: value for key, (_, value, _) in dump(store.client).items() if "{s}" in key}


@pytest.mark.parametrize("name", WRITES)
def test_a_session_that_was_made_since_is_left_alone(
    store: Store, other: Store, anew: Callable[[], None], name: str
) -> None:
    script, write = WRITES[name]
    if name == "create":
        other.delete_session("s")
    before = {}

    def meanwhile() -> None:
        anew()
        before.update(bobs(other))

    told: object = None
    with losing(store, script, meanwhile):
        try:
            told = write(store)
        except NOT_THERE as exc:
            told = exc
    assert bobs(other) == before
    assert lines(other) == ["user:bob's"]
    expected = {"delete": True, "update": False, "extend": False}.get(name)
    assert told is expected if name in ("delete", "update", "extend") else True
    assert isinstance(told, bool) == (expected is not None)


@pytest.mark.parametrize("ms", [1, 2])
@pytest.mark.parametrize("name", sorted(WRITES.keys() - {"create", "delete"}))
def test_a_session_that_was_made_in_the_same_moment_is_left_alone(
    store: Store, other: Store, clock: ManualClock, client: redis.Redis, name: str, ms: int
) -> None:
    """Nobody knows then whether it is the one that was meant."""
    script, write = WRITES[name]
    store.load_thread("s")  # so it knows the server's time
    left: Any = None

    def meanwhile() -> None:
        nonlocal left
        clock.advance(ms / 1000)
        other.delete_session("s")
        other.create_session("s", {"of": "bob"}, user_id="bob")
        other.append_to_thread("s", Message("user", "bob's"))
        left = dump(client)

    told: object = False
    with losing(store, script, meanwhile), suppress(*NOT_THERE):
        told = write(store)
    assert told is False
    assert dump(client) == left


@pytest.mark.parametrize("name", WRITES)
def test_a_request_that_comes_late_changes_nothing_any_more(
    store: Store,
    other: Store,
    clock: ManualClock,
    anew: Callable[[], None],
    name: str,
) -> None:
    """Whoever sent it has gone on, by a repetition, and others have made the session anew."""
    script, write = WRITES[name]
    if name == "create":
        other.delete_session("s")
    with losing(store, script) as lost:
        write(store)
    if name == "create":
        clock.advance(0.05)
        other.delete_session("s")
    else:
        anew()
    before = bobs(other)
    lost.arrive_late()
    assert bobs(other) == before


@pytest.mark.parametrize("name", ["append", "clear", "update", "truncate", "begin", "interrupt"])
def test_a_request_that_comes_after_much_else_changes_nothing_any_more(
    store: Store, much: Callable[[], None], other: Store, name: str
) -> None:
    script, write = WRITES[name]
    with losing(store, script) as lost:
        turn = write(store)
    if script == "begin_turn":
        store.commit_turn(turn, [said("answer")])  # type: ignore[arg-type]
    much()
    before = bobs(other)
    lost.arrive_late()
    assert bobs(other) == before


def test_an_ended_session_is_told_as_ended_and_its_index_is_left(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s", user_id="ada")
    with losing(store, "delete_session"):
        assert store.delete_session("s")
    assert list(store.list_sessions("ada")) == []
    assert client.zcard("user:ada:sessions") == 0


def test_a_creation_that_was_ended_since_is_not_done_again(
    store: Store, open_store: OpenStore
) -> None:
    other = open_store()
    with (
        losing(store, "create_session", lambda: other.delete_session("s")),
        pytest.raises(TurnUncertain),
    ):
        store.create_session("s")
    assert store.get_session("s") is None


def test_a_slow_way_is_no_hindrance(
    store: Store, other: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request takes long, and others do much before it arrives: it is done all the same."""
    connections = store.parts.core.connections
    send = connections.exchange

    def exchange(commands: Any, nonce: bytes | None = None) -> list[Any]:
        for _ in range(OTHERS):
            other.append_to_thread("s", said("x"))
        clock.advance(0.05)
        return send(commands, nonce)

    monkeypatch.setattr(connections, "exchange", exchange)
    append(store)
    monkeypatch.undo()
    assert lines(store).count("user:mine") == 1


def test_an_update_does_not_reach_a_session_that_was_made_since_its_document_was_read(
    store: Store, other: Store, anew: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = store.parts.sessions
    read = sessions.read

    def read_and_wait(*args: Any) -> Any:
        found = read(*args)
        anew()
        return found

    monkeypatch.setattr(sessions, "read", read_and_wait)
    assert not store.update_session("s", {"secret": "mine"})
    assert other.get_session("s") == {"of": "bob"}
    assert other.session_state("s").user_id == "bob"


@pytest.mark.parametrize("tried", ["~", "="])
@pytest.mark.parametrize(("micros", "is_meant"), [(-1, False), (0, True), (1, True)])
def test_a_session_is_told_from_one_that_was_made_in_the_same_millisecond(
    real_store: Store, micros: int, is_meant: bool, tried: str
) -> None:
    """By the microsecond: in a millisecond one may end and another one be made, or a turn begin."""
    real_store.create_session("s")
    core = real_store.parts.core
    made = core.call("HMGET", core.keys.metadata("s"), "created_at", "created_us")
    sent = int(made[0]) * 1000 + int(made[1]) + micros
    nonce = f"n:{sent // 1000}.{sent % 1000:03d}:1{tried}"
    keys = core.keys.of_session("s")
    command = ("EVAL", source("touch_session"), len(keys), *keys, nonce, "", 1000, "", "")
    reply = core.call(*command)
    unmeant = b"uncertain" if tried == "~" else b"notfound"  # nothing was lost: that is certain
    assert reply[1] == (b"ok" if is_meant else unmeant)


def test_it_is_told_when_a_call_began_to_the_microsecond_and_never_later(real_store: Store) -> None:
    """An operation that follows another one is not taken for one from before it."""
    for n in range(50):
        sid = f"s{n}"
        real_store.create_session(sid)
        with losing(real_store, "append_messages"):
            assert real_store.append_to_thread(sid, MINE) == 2
