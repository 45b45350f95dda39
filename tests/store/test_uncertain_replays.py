"""A turn is stored late, without a reply to that: ``resolve_turn`` tells whose answer it has."""

from __future__ import annotations

import pytest
from attrs import evolve

from miniagent_redis.errors import TurnUncertain
from miniagent_redis.models import OpenTurn
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.lost import losing
from tests.support.words import OpenStore, lines, said

Store = RedisSessionManager


@pytest.fixture
def told(store: Store) -> OpenTurn:
    """Return a turn with an answer that its commit did not bring to Redis."""
    store.create_session("s")
    store.config.retry_on_timeout = False  # one try, of which nobody hears
    turn = store.begin_turn("s", "one")
    return evolve(turn, staged=(*turn.staged, said("told")))


def test_another_answer_is_not_told_as_the_one_that_was_stored_late(
    store: Store, open_store: OpenStore, clock: ManualClock, told: OpenTurn
) -> None:
    other = open_store()
    clock.advance(31)
    resumed = other.resume_turn("s")
    assert resumed is not None
    with losing(store, "replay_turn"), pytest.raises(TurnUncertain):
        store.replay_turn(told)
    other.commit_turn(resumed, [said("another answer")])
    assert store.resolve_turn("s", told.turn_id) == "unknown"
    assert other.resolve_turn("s", told.turn_id) == "committed"
    for number in range(70):
        other.append_to_thread("s", said(str(number)))
    assert store.resolve_turn("s", told.turn_id) == "unknown"  # nor when that is forgotten


@pytest.mark.parametrize("others", [0, 70])
def test_one_that_was_stored_late_is_told_as_that(
    store: Store, told: OpenTurn, others: int
) -> None:
    with losing(store, "replay_turn"), pytest.raises(TurnUncertain):
        store.replay_turn(told)
    for number in range(others):
        store.append_to_thread("s", said(str(number)))
    assert lines(store)[1] == "assistant:told"
    assert store.resolve_turn("s", told.turn_id) == "committed"
