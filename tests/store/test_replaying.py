"""A whole turn is stored after its commit had failed, though others took it over meanwhile."""

from __future__ import annotations

import pytest
from attrs import evolve

from miniagent_redis.errors import SessionBusy, TurnSuperseded
from miniagent_redis.models import OpenTurn
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.words import call, lines, result, said

Store = RedisSessionManager
LEASE = 30.0
STEPS = [call("1"), result("1")]


@pytest.fixture
def told(store: Store) -> OpenTurn:
    """Return a turn with two staged steps and an answer that its commit did not bring to Redis."""
    store.create_session("s", user_id="ada")
    turn = store.stage_step(store.begin_turn("s", "one"), STEPS)
    return evolve(turn, staged=(*turn.staged, said("told")))


def taken_over(store: Store, clock: ManualClock) -> OpenTurn:
    clock.advance(LEASE)
    other = store.resume_turn("s")
    assert other is not None
    return other


def test_another_holder_who_has_done_nothing_yet_is_superseded(
    store: Store, clock: ManualClock, told: OpenTurn
) -> None:
    other = taken_over(store, clock)
    version = store.replay_turn(told, staged=3)
    assert lines(store) == ["user:one", "assistant:", "tool:ok", "assistant:told"]
    with pytest.raises(TurnSuperseded):
        store.stage_step(other, [call("2")])
    with pytest.raises(TurnSuperseded):
        store.commit_turn(other, [said("another answer")])
    assert store.replay_turn(told, staged=3) == version
    assert lines(store) == ["user:one", "assistant:", "tool:ok", "assistant:told"]


def test_another_holder_who_has_gone_on_keeps_the_turn(
    store: Store, clock: ManualClock, told: OpenTurn
) -> None:
    other = store.stage_step(taken_over(store, clock), [call("2")])
    with pytest.raises(SessionBusy):
        store.replay_turn(told, staged=3)
    store.commit_turn(store.stage_step(other, [result("2")]), [said("another answer")])
    with pytest.raises(TurnSuperseded):
        store.replay_turn(told, staged=3)
    assert lines(store)[-1] == "assistant:another answer"


def test_of_whom_it_does_not_show_another_holder_keeps_the_turn(
    store: Store, clock: ManualClock, told: OpenTurn
) -> None:
    taken_over(store, clock)
    with pytest.raises(SessionBusy):
        store.replay_turn(told)


def test_another_holders_answer_is_not_taken_for_this_one_however_long_ago_that_was(
    store: Store, clock: ManualClock, told: OpenTurn
) -> None:
    store.commit_turn(taken_over(store, clock), [said("another answer")])
    for number in range(70):
        store.append_to_thread("s", said(str(number)))
    with pytest.raises(TurnSuperseded):
        store.replay_turn(told, staged=3)
    assert "assistant:told" not in lines(store)
