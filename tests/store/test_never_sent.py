"""The server is away at first, and others do much before an operation is tried again.

Nothing was done by then, so it is done now: once, but never to a session of the same id that was
made since the call began.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from miniagent_redis.errors import SessionNotFound
from miniagent_redis.models import Message, OpenTurn, WaitingCall
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.calls import call_store, of_sessions
from tests.support.lost import at_this_time, away, losing
from tests.support.stored import dump
from tests.support.words import OpenStore, call, lines, said

Store = RedisSessionManager
OTHERS = 70
"""More than the server remembers."""


@pytest.fixture
def other(open_store: OpenStore, store: Store) -> Store:
    """Return a store of somebody else; the session "s" has two messages."""
    store.create_session("s", {"n": 0})
    store.append_to_thread("s", [said("0"), said("1")])
    return open_store()


def sessions(store: Store) -> dict[str, Any]:
    """Return what is stored of all sessions, under whatever id."""
    return {key: value for key, (_, value, _) in dump(store.client).items() if "{" in key}


class Anew:
    """Ends the session, makes another one of the same id, and sees whether that stays as it is."""

    def __init__(self, other: Store, clock: ManualClock) -> None:
        self._other = other
        self._clock = clock
        self._made: dict[str, Any] = {}
        self.turn: OpenTurn | None = None
        self.waiting = ""

    def __call__(self) -> None:
        self._clock.advance(0.05)
        self._other.delete_session("s")
        self._clock.advance(0.05)
        self._other.create_session("s", {"of": "bob"})
        self._other.append_to_thread("s", [Message("user", "bob's"), said("yes")])
        if self.waiting:
            parked(self._other, self.waiting)
        elif self.turn is not None:
            self.turn = self._other.begin_turn("s", "bob's again")
        self._clock.advance(0.05)
        self._made = sessions(self._other)

    @property
    def is_left_alone(self) -> bool:
        assert self._made, "it was not made"
        return sessions(self._other) == self._made


@pytest.fixture
def anew(other: Store, clock: ManualClock) -> Anew:
    return Anew(other, clock)


def parked(store: Store, turn_id: str) -> OpenTurn:
    """Begin a turn that waits for the result of a call."""
    turn = store.stage_step(store.begin_turn("s", "go", turn_id=turn_id), [call("1")])
    store.parts.parking.park_turn(turn, [WaitingCall("1", "tool", {}, "result")])
    return turn


def told(action: Callable[[], object]) -> object:
    """Return what the call gives, or None if it says that there is no such session."""
    try:
        return action()
    except SessionNotFound:
        return None


# --- another session has the id now ---------------------------------------------------------------


# Who watches looks again and again, at whatever session has the id by then.
@pytest.mark.parametrize("name", sorted({*of_sessions()} - {"watch"}))
def test_no_call_reaches_a_session_that_was_made_since(store: Store, anew: Anew, name: str) -> None:
    with away(store, anew):
        assert told(lambda: call_store(name, store, "s", None)) in (None, False)
    assert anew.is_left_alone


def answered(turn: OpenTurn) -> OpenTurn:
    return evolve(turn, staged=(*turn.staged, said("answer")))


OF_TURNS: dict[str, Callable[[Store, OpenTurn], object]] = {
    "stage_step": lambda store, turn: store.stage_step(turn, [said("step")]),
    "renew_lease": lambda store, turn: store.renew_lease(turn),
    "tell_text": lambda store, turn: store.tell_text(turn, "text"),
    "commit_turn": lambda store, turn: store.commit_turn(turn, [said("answer")]),
    "replay_turn": lambda store, turn: store.replay_turn(answered(turn)),
    "abort_turn": lambda store, turn: store.abort_turn(turn),
    "cancel_turn": lambda store, _: store.cancel_turn("s"),
    "interrupt": lambda store, _: store.begin_turn("s", "go", on_busy="interrupt"),
    "named": lambda store, _: store.begin_turn("s", "go", turn_id="mine", on_busy="reject"),
}


@pytest.mark.parametrize("name", OF_TURNS)
def test_no_turn_of_a_session_that_was_made_since_is_touched(
    store: Store, anew: Anew, name: str
) -> None:
    anew.turn = turn = store.begin_turn("s", "one")
    with away(store, anew):
        assert told(lambda: OF_TURNS[name](store, turn)) in (None, False)
    assert anew.is_left_alone


@pytest.mark.parametrize("how", [away, losing])
@pytest.mark.parametrize("declines", [False, True])
def test_no_answer_reaches_a_turn_of_the_same_name_in_a_session_that_was_made_since(
    store: Store, anew: Anew, how: Callable[..., Any], declines: bool
) -> None:
    parking = store.parts.parking
    parked(store, "order")
    anew.waiting = "order"
    script = "cancel_turn" if declines else "answer_turn"
    with away(store, anew) if how is away else losing(store, script, anew):
        if declines:
            assert not told(lambda: parking.decline("s", "order"))
        else:
            assert told(lambda: parking.answer("s", "order", {"1": "yes"})) is None
    assert anew.is_left_alone


def test_a_user_who_is_forgotten_keeps_the_session_that_he_made_since(
    store: Store, other: Store, clock: ManualClock
) -> None:
    store.create_session("mine", {"n": 0}, user_id="ada")
    made: list[Any] = []

    def meanwhile() -> None:
        clock.advance(0.05)
        other.delete_session("mine")
        other.create_session("mine", {"n": 1}, user_id="ada")
        made.append(sessions(other))

    forget = store.parts.core.on("mine", "ada")
    with away(store, meanwhile), pytest.raises(SessionNotFound):
        forget("forget_session", "operation", "", "")
    assert sessions(other) == made[0]


def test_a_request_that_was_long_on_its_way_reaches_no_session_that_was_made_meanwhile(
    store: Store, anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = store.parts.core.connections
    send, ways = connections.exchange, list[Callable[[], None]]([anew])

    def exchange(commands: Any, nonce: bytes | None = None) -> list[Any]:
        if ways:
            ways.pop()()
        return send([at_this_time(request, store) for request in commands], nonce)

    store.load_thread("s")  # so it knows the server's time
    monkeypatch.setattr(connections, "exchange", exchange)
    with pytest.raises(SessionNotFound):
        store.append_to_thread("s", Message("user", "mine"))
    monkeypatch.undo()
    assert anew.is_left_alone


def test_what_was_refused_and_then_lost_reaches_no_session_that_was_made_in_between(
    store: Store, anew: Anew
) -> None:
    with losing(store, "append_messages"), away(store, anew), pytest.raises(SessionNotFound):
        store.append_to_thread("s", Message("user", "mine"))
    assert anew.is_left_alone


# --- the same session is there --------------------------------------------------------------------

WRITES: dict[str, Callable[[Store], object]] = {
    "append": lambda store: store.append_to_thread("s", Message("user", "mine")),
    "clear": lambda store: store.clear_thread("s"),
    "truncate": lambda store: store.truncate_thread("s", 1),
    "update": lambda store: store.update_session("s", {"n": 1}),
    "touch": lambda store: store.touch_session("s"),
    "cancel": lambda store: store.cancel_turn("s"),
    "begin": lambda store: store.begin_turn("s", "mine"),
    "named": lambda store: store.begin_turn("s", "mine", turn_id="order"),
    "delete": lambda store: store.delete_session("s"),
    "create": lambda store: store.create_session("new"),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_others_did_meanwhile_is_no_hindrance(
    store: Store, other: Store, clock: ManualClock, name: str
) -> None:
    """More than the server remembers; but nothing of this operation can be among it."""

    def meanwhile() -> None:
        for n in range(OTHERS):
            clock.advance(0.001)
            other.append_to_thread("s", said(f"other {n}"))
        if name == "create":
            other.create_session("new")
            other.delete_session("new")

    with away(store, meanwhile):
        WRITES[name](store)
    there = lines(other) if name != "delete" else []
    assert ("user:mine" in there) == (name == "append")
    assert len(there) == {"append": 73, "clear": 0, "truncate": 1, "delete": 0}.get(name, 72)


@pytest.mark.parametrize("ms", [0, 1, 20])
def test_a_session_that_was_made_just_before_is_the_one_that_is_meant(
    store: Store, other: Store, clock: ManualClock, ms: int
) -> None:
    other.delete_session("s")
    other.create_session("s")
    clock.advance(ms / 1000)
    with away(store, lambda: clock.advance(0.3)):
        store.append_to_thread("s", Message("user", "mine"))
    assert lines(other) == ["user:mine"]
