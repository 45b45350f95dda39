"""An abandoned turn: it is taken over three times at the most, or replaced by who interrupts."""

from __future__ import annotations

import logging
import time

import pytest
import redis

from miniagent_redis.errors import SessionBusy, TurnSuperseded
from miniagent_redis.models import EventType, OpenTurn
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.words import call, lines, result, said

Store = RedisSessionManager
LEASE = 30.0


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s")


def take_over(store: Store, clock: ManualClock, times: int) -> OpenTurn:
    """Begin a turn and let one holder after the other fall silent; return the last one's right."""
    turn = store.begin_turn("s", "poison", turn_id="first")
    for _ in range(times):
        clock.advance(LEASE)
        turn = store.begin_turn("s", "next")
        assert (turn.resumed, turn.turn_id) == (True, "first")
    clock.advance(LEASE)
    return turn


def test_a_turn_that_was_taken_over_three_times_gives_way_to_the_next_message(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    zombie = take_over(store, clock, 3)
    with caplog.at_level(logging.WARNING):
        turn = store.begin_turn("s", "next", turn_id="second")
    assert (turn.turn_id, turn.resumed) == ("second", False)
    assert "first" in caplog.text
    with pytest.raises(TurnSuperseded):
        store.commit_turn(zombie, [said("too late")])
    store.commit_turn(turn, [said("answer")])
    assert lines(store) == ["user:next", "assistant:answer"]
    failed = [e for e in store.read_events("s") if e.type is EventType.TURN_FAILED]
    assert [event.turn_id for event in failed] == ["first"]
    assert failed[0].data["error"] == "TurnGivenUp"
    assert "3 times" in failed[0].data["message"]


def test_nobody_resumes_a_turn_that_was_taken_over_three_times(
    store: Store, clock: ManualClock
) -> None:
    take_over(store, clock, 3)
    assert store.resume_turn("s") is None
    assert store.session_state("s").open_turn is None


def test_a_third_holder_still_finishes_the_turn(store: Store, clock: ManualClock) -> None:
    turn = take_over(store, clock, 3)
    store.commit_turn(turn, [said("done")])
    assert lines(store) == ["user:poison", "assistant:done"]


def test_steps_of_a_new_holder_do_not_count_as_a_way_out(store: Store, clock: ManualClock) -> None:
    """A model that is told that the outcome of a call is unknown may call again, for ever."""
    turn = store.begin_turn("s", "poison")
    for number in range(3):
        turn = store.stage_step(turn, [call(str(number))])
        clock.advance(LEASE)
        turn = store.begin_turn("s", "next")
        assert turn.resumed
        turn = store.stage_step(turn, [result(str(number), "outcome unknown")])
    clock.advance(LEASE)
    assert store.begin_turn("s", "next").is_given_up


@pytest.mark.parametrize("end", ["commit", "abort", "interrupt", "clear"])
def test_the_next_turn_is_taken_over_three_times_too(
    store: Store, clock: ManualClock, end: str
) -> None:
    turn = take_over(store, clock, 3)
    if end == "commit":
        store.commit_turn(turn, [said("done")])
    elif end == "abort":
        store.abort_turn(turn)
    elif end == "clear":
        store.clear_thread("s")
    turn = store.begin_turn("s", "new", on_busy="interrupt")
    for _ in range(3):
        clock.advance(LEASE)
        again = store.begin_turn("s", "next")
        assert (again.resumed, again.turn_id) == (True, turn.turn_id)


def test_who_may_interrupt_replaces_an_abandoned_turn(store: Store, clock: ManualClock) -> None:
    zombie = store.stage_step(store.begin_turn("s", "one"), [call("1"), result("1")])
    clock.advance(LEASE)
    turn = store.begin_turn("s", "two", on_busy="interrupt")
    assert (turn.resumed, [message.text for message in turn.staged]) == (False, ["two"])
    with pytest.raises(TurnSuperseded):
        store.commit_turn(zombie, [said("too late")])
    store.commit_turn(turn, [said("2")])
    assert lines(store) == ["user:two", "assistant:2"]
    failed = [e.turn_id for e in store.read_events("s") if e.type is EventType.TURN_FAILED]
    assert failed == [zombie.turn_id]


def test_a_turn_whose_steps_cannot_be_read_does_not_close_the_session_for_ever(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    take_over(store, clock, 3)
    client.lset("turn:{s}", 0, "torn")
    assert not store.begin_turn("s", "next").resumed


def test_a_number_of_takeovers_that_is_none_is_counted_anew(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    take_over(store, clock, 1)
    client.hset("metadata:{s}", "takeovers", "x")
    assert store.begin_turn("s", "next").resumed
    assert client.hget("metadata:{s}", "takeovers") == b"1"


def test_a_waiting_message_goes_on_behind_a_turn_that_is_given_up(real_store: Store) -> None:
    real_store.create_session("t")
    real_store.begin_turn("t", "poison")
    soon = round(time.time() * 1000) + 100
    real_store.client.hset("metadata:{t}", mapping={"takeovers": 3, "lease": soon})
    with pytest.raises(SessionBusy):
        real_store.begin_turn("t", "next", on_busy="reject")
    assert not real_store.begin_turn("t", "next", on_busy="wait").resumed


def test_a_takeover_whose_reply_was_lost_counts_once(
    lossy_store: Store, proxy: Proxy, real_store: Store
) -> None:
    real_store.create_session("t")
    real_store.begin_turn("t", "one")
    for number in range(1, 4):
        real_store.client.hset("metadata:{t}", "lease", 0)
        proxy.lose_replies()
        assert lossy_store.begin_turn("t", "next").resumed
        assert real_store.client.hget("metadata:{t}", "takeovers") == b"%d" % number
    real_store.client.hset("metadata:{t}", "lease", 0)
    for matching in ("TurnGivenUp", "next"):
        proxy.lose_replies(matching=matching)
    turn = lossy_store.begin_turn("t", "next")
    assert not turn.resumed
    lossy_store.commit_turn(turn, [said("answer")])
    assert lines(lossy_store, "t") == ["user:next", "assistant:answer"]
