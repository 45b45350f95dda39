"""Two holders of one turn: the older is refused everywhere, the newer goes on where it was."""

from __future__ import annotations

import pytest
import redis

from miniagent_redis.errors import (
    RecordUnreadable,
    SchemaTooNew,
    SessionBusy,
    SessionNotFound,
    TurnSuperseded,
)
from miniagent_redis.models import Message, OpenTurn
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import call, lines, result, said

Store = RedisSessionManager
LEASE = 30.0


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s", user_id="ada")


def test_an_interrupted_turn_is_refused_at_every_step_and_changes_nothing(
    store: Store, client: redis.Redis
) -> None:
    zombie = store.begin_turn("s", "one")
    zombie = store.stage_step(zombie, [call("1"), result("1")])
    store.begin_turn("s", "two", on_busy="interrupt")
    assert_is_refused(store, client, zombie)


def test_a_holder_that_slept_past_its_lease_is_refused_and_changes_nothing(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    zombie = store.begin_turn("s", "one")
    clock.advance(LEASE)
    resumed = store.begin_turn("s", "two")
    assert resumed.turn_id == zombie.turn_id
    assert_is_refused(store, client, zombie)
    store.commit_turn(resumed, [said("finished by another")])
    assert_is_refused(store, client, zombie)
    store.begin_turn("s", "three")
    assert_is_refused(store, client, zombie)


def test_a_turn_whose_history_was_cleared_is_refused(store: Store, client: redis.Redis) -> None:
    zombie = store.begin_turn("s", "one")
    store.clear_thread("s")
    assert_is_refused(store, client, zombie)


def test_a_turn_whose_session_was_made_anew_is_refused(store: Store, client: redis.Redis) -> None:
    zombie = store.begin_turn("s", "one")
    store.delete_session("s")
    store.create_session("s", user_id="ada")
    assert_is_refused(store, client, zombie)


def test_a_turn_whose_session_has_ended_finds_nothing_to_commit_to(
    store: Store, client: redis.Redis
) -> None:
    zombie = store.begin_turn("s", "one")
    store.delete_session("s")
    before = dump(client)
    with pytest.raises(SessionNotFound):
        store.commit_turn(zombie, [said("x")])
    with pytest.raises(SessionNotFound):
        store.stage_step(zombie, [said("x")])
    assert not store.abort_turn(zombie)
    assert dump(client) == before


def assert_is_refused(store: Store, client: redis.Redis, zombie: OpenTurn) -> None:
    before = dump(client)
    with pytest.raises(TurnSuperseded):
        store.stage_step(zombie, [call("9")])
    with pytest.raises(TurnSuperseded):
        store.renew_lease(zombie)
    with pytest.raises(TurnSuperseded):
        store.commit_turn(zombie, [said("too late")])
    assert not store.abort_turn(zombie)
    assert dump(client) == before


def test_an_abandoned_turn_goes_on_with_what_was_staged(store: Store, clock: ManualClock) -> None:
    abandoned = store.begin_turn("s", "one", turn_id="first")
    abandoned = store.stage_step(abandoned, [call("1", "2"), result("1", "half done")])
    clock.advance(LEASE)

    resumed = store.begin_turn("s", "two", turn_id="second")

    assert resumed.resumed
    assert resumed.turn_id == "first"
    assert resumed.staged == abandoned.staged
    assert resumed.holder != abandoned.holder
    resumed = store.stage_step(resumed, [result("2", "the rest")])
    store.commit_turn(resumed, [said("done")])
    assert lines(store)[0] == "user:one"
    assert lines(store)[-2:] == ["tool:the rest", "assistant:done"]
    assert store.resolve_turn("s", "first") == "committed"
    assert store.resolve_turn("s", "second") == "unknown"
    assert not store.begin_turn("s", "two", turn_id="second").resumed


def test_a_turn_is_not_taken_over_before_its_lease_ends(store: Store, clock: ManualClock) -> None:
    turn = store.begin_turn("s", "one")
    clock.advance(LEASE - 0.001)
    with pytest.raises(SessionBusy) as caught:
        store.begin_turn("s", "two", on_busy="reject")
    assert 0 < caught.value.lease_remaining <= 0.001
    store.renew_lease(turn)
    clock.advance(LEASE - 0.001)
    with pytest.raises(SessionBusy):
        store.begin_turn("s", "two", on_busy="reject")
    turn = store.stage_step(turn, [call("1")])
    clock.advance(LEASE - 0.001)
    with pytest.raises(SessionBusy):
        store.begin_turn("s", "two", on_busy="reject")
    clock.advance(0.001)
    assert store.begin_turn("s", "two", on_busy="reject").resumed


def test_a_holder_whose_lease_ended_goes_on_if_nobody_took_over(
    store: Store, clock: ManualClock
) -> None:
    turn = store.begin_turn("s", "one")
    clock.advance(LEASE * 2)
    store.commit_turn(store.stage_step(turn, [call("1"), result("1")]), [said("late but alone")])
    assert lines(store)[-1] == "assistant:late but alone"


def test_of_several_who_take_over_only_the_last_holds_the_turn(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.begin_turn("s", "one")
    holders = []
    for _ in range(3):
        clock.advance(LEASE)
        holders.append(store.begin_turn("s", "again"))
    assert len({turn.turn_id for turn in holders}) == 1
    for zombie in holders[:-1]:
        assert_is_refused(store, client, zombie)
    store.commit_turn(holders[-1], [said("me")])
    assert lines(store) == ["user:one", "assistant:me"]


def test_an_abandoned_turn_that_lost_its_steps_is_begun_anew(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.begin_turn("s", "one")
    clock.advance(LEASE)
    client.delete("turn:{s}")
    turn = store.begin_turn("s", "two", turn_id="second")
    assert (turn.turn_id, turn.resumed) == ("second", False)
    store.commit_turn(turn, [said("2")])
    assert lines(store) == ["user:two", "assistant:2"]


def test_a_turn_that_lost_its_steps_cannot_be_committed(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("s", "one")
    client.delete("turn:{s}")
    before = dump(client)
    for messages in ([], [said("an answer to nothing")]):
        with pytest.raises(TurnSuperseded):
            store.commit_turn(turn, messages)
    assert dump(client) == before


def test_an_abandoned_turn_with_an_unreadable_step_is_told_and_kept(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.begin_turn("s", "one")
    client.lset("turn:{s}", 0, "torn")
    clock.advance(LEASE)
    with pytest.raises(RecordUnreadable) as caught:
        store.begin_turn("s", "two")
    assert caught.value.raw == b"torn"
    assert caught.value.key == "turn:{s}"
    assert client.lrange("turn:{s}", 0, -1) == [b"torn"]
    # Whoever does not want it any more replaces it.
    store.commit_turn(store.begin_turn("s", "two", on_busy="interrupt"), [said("2")])


def test_no_turn_stays_open_when_its_thread_cannot_be_read(
    store: Store, client: redis.Redis
) -> None:
    store.append_to_thread("s", Message("user", "from tomorrow"))
    newer = store.serialize({"v": 2, "role": "user", "content": "from tomorrow"})
    client.lset("thread:{s}", 0, newer)  # type: ignore[arg-type]
    with pytest.raises(SchemaTooNew):
        store.begin_turn("s", "one")
    assert store.session_state("s").open_turn is None
    assert client.lrange("thread:{s}", 0, -1) == [newer]
