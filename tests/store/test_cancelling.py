"""Who cancels means the turn that was open when he first asked, or the one that he names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis.models import Message, OpenTurn, WaitingCall
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.lost import at_this_time, away, losing
from tests.support.words import OpenStore, call, said

Store = RedisSessionManager


@pytest.fixture
def other(open_store: OpenStore, store: Store) -> Store:
    found = open_store()
    found.create_session("s")
    return found


class Later:
    """Ends the turn that is open, and begins another one."""

    def __init__(self, other: Store, clock: ManualClock) -> None:
        self._other = other
        self._clock = clock
        self.first: OpenTurn | None = None
        self.turn: OpenTurn | None = None

    def __call__(self) -> None:
        self._clock.advance(0.05)
        if self.first is not None:
            self._other.commit_turn(self.first, [said("answer")])
        self.turn = self._other.begin_turn("s", "later")
        self._clock.advance(0.05)

    @property
    def is_cancelled(self) -> bool:
        assert self.turn is not None
        return self._other.renew_lease(self.turn).cancelled


@pytest.fixture(params=["another was open", "none was open"])
def later(other: Store, clock: ManualClock, request: pytest.FixtureRequest) -> Later:
    found = Later(other, clock)
    if request.param == "another was open":
        found.first = other.begin_turn("s", "first")
        clock.advance(0.01)
    return found


def lateness(store: Store, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen while the next request is on its way."""
    connections = store.parts.core.connections
    send, acts = connections.exchange, [act]

    def exchange(commands: Any, nonce: bytes | None = None) -> list[Any]:
        if acts:
            acts.pop()()
        return send([at_this_time(request, store) for request in commands], nonce)

    monkeypatch.setattr(connections, "exchange", exchange)


@pytest.mark.parametrize("knows_the_time", [True, False])
def test_a_request_that_did_not_leave_at_first_ends_no_turn_that_was_begun_since(
    store: Store, later: Later, knows_the_time: bool
) -> None:
    if knows_the_time:
        store.load_thread("s")
    with away(store, later):
        assert not store.cancel_turn("s")
    assert not later.is_cancelled


@pytest.mark.parametrize("knows_the_time", [True, False])
def test_nor_does_one_that_was_long_on_its_way(
    store: Store, later: Later, monkeypatch: pytest.MonkeyPatch, knows_the_time: bool
) -> None:
    if knows_the_time:
        store.load_thread("s")
    lateness(store, monkeypatch, later)
    assert store.cancel_turn("s") is not knows_the_time  # else it cannot be known
    assert later.is_cancelled is not knows_the_time


def test_nor_does_one_whose_reply_was_lost(store: Store, later: Later) -> None:
    store.load_thread("s")
    was_there = later.first is not None
    with losing(store, "cancel_turn", later):
        assert store.cancel_turn("s") == was_there
    assert not later.is_cancelled


def test_nor_does_a_request_that_comes_when_a_repetition_was_answered(
    store: Store, later: Later
) -> None:
    store.load_thread("s")
    with losing(store, "cancel_turn") as lost:
        store.cancel_turn("s")
    later()
    lost.arrive_late()
    assert not later.is_cancelled


@pytest.mark.parametrize("how", [away, losing])
def test_the_turn_that_is_meant_is_ended_however_often_it_is_asked_for(
    store: Store, other: Store, clock: ManualClock, how: Callable[..., Any]
) -> None:
    turn = other.begin_turn("s", "first")
    clock.advance(0.001)

    def meanwhile() -> None:
        clock.advance(0.05)
        other.stage_step(turn, [said("step")])

    store.load_thread("s")
    with away(store, meanwhile) if how is away else losing(store, "cancel_turn", meanwhile):
        assert store.cancel_turn("s")
    assert other.renew_lease(turn).cancelled


def test_one_that_was_taken_over_since_is_still_the_one_that_is_meant(
    store: Store, other: Store, clock: ManualClock
) -> None:
    other.begin_turn("s", "first")
    clock.advance(31)
    store.load_thread("s")
    with away(store, lambda: other.resume_turn("s")):
        assert store.cancel_turn("s")


def test_a_turn_is_cancelled_by_its_name_and_no_other(
    store: Store, other: Store, clock: ManualClock
) -> None:
    turn = other.begin_turn("s", "first", turn_id="order")
    assert not store.cancel_turn("s", turn_id="another")
    assert not other.renew_lease(turn).cancelled
    assert store.cancel_turn("s", turn_id="order")
    assert other.renew_lease(turn).cancelled


def test_to_decline_what_a_turn_waits_for_cancels_no_other_turn(
    store: Store, other: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was answered and finished between the look at it and that."""
    turn = other.stage_step(other.begin_turn("s", "go"), [call("1")])
    other.parts.parking.park_turn(turn, [WaitingCall("1", "tool", {}, "result")])
    look, theirs = store.parts.parking._look, list[OpenTurn]()

    def look_and_wait(*args: Any) -> Any:
        found = look(*args)
        other.parts.parking.answer("s", turn.turn_id, {"1": "yes"})
        resumed = other.resume_turn("s")
        assert resumed is not None
        other.commit_turn(resumed, [Message("assistant", "done")])
        theirs.append(other.begin_turn("s", "theirs"))
        return found

    monkeypatch.setattr(store.parts.parking, "_look", look_and_wait)
    assert not store.parts.parking.decline("s", turn.turn_id)
    assert not other.renew_lease(theirs[0]).cancelled
