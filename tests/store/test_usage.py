"""Totals of what turns took: each turn counted once, whatever happens to the replies."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import redis
from lossy_proxy import LossyProxy
from talk import OpenStore

from miniagent_redis.clock import ManualClock
from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, Usage, UsageTotals
from miniagent_redis.store.counts import all_counts, totals
from miniagent_redis.store.manager import RedisSessionManager

Store = RedisSessionManager
SPENT = UsageTotals(1, 2, 3, 40, 5, 6, 7, 8, 9, 0.25, 1.5, 0.000123)


def test_counts_stand_for_the_same_totals() -> None:
    assert totals(all_counts(SPENT)) == SPENT
    assert all_counts(UsageTotals()) == {}


def test_a_turn_counts_for_its_user_its_day_and_the_namespace(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    clock._now = 1_900_000_000.0
    store.note_usage(SPENT, user_id="ada")
    store.note_usage(UsageTotals(turns=1))
    assert store.usage(user_id="ada") == SPENT
    other = open_store()
    assert other.usage().turns == 2
    assert other.usage(day="2030-03-17") == other.usage(day=date(2030, 3, 17)) == other.usage()
    assert other.usage(user_id="eve") == other.usage(day="2030-03-18") == UsageTotals()


def test_instances_add_up(store: Store, open_store: OpenStore) -> None:
    for one in (store, open_store(), store):
        one.note_usage(UsageTotals(turns=1, cost=0.25), user_id="ada")
        one.flush_usage()
    assert store.usage() == UsageTotals(turns=3, cost=0.75)


def test_a_batch_whose_reply_was_lost_is_counted_once(
    lossy_store: Store, proxy: LossyProxy
) -> None:
    for times in (1, 3, 1000):  # of the last no reply comes within the call's time
        lossy_store.note_usage(UsageTotals(turns=1))
        proxy.lose_replies(times)
        lossy_store.flush_usage()
        lossy_store.note_usage(UsageTotals(turns=10))
    proxy.lose_replies(0)
    lossy_store.flush_usage()
    assert lossy_store.usage() == UsageTotals(turns=33)


def test_totals_are_forgotten_400_days_after_their_last_use(
    store: Store, client: redis.Redis
) -> None:
    store.note_usage(SPENT, user_id="ada")
    store.flush_usage()
    for key in client.keys("usage:*"):  # type: ignore[union-attr]
        days = client.pttl(key) / 86_400_000  # type: ignore[operator]
        assert 0.9 < days <= 1 if ":batch:" in str(key) else 399 < days <= 400


def test_what_is_noted_is_written_at_the_end(store: Store, open_store: OpenStore) -> None:
    closing = open_store()
    closing.connect()
    closing.note_usage(SPENT)
    closing.disconnect()
    assert store.usage() == SPENT


def test_what_is_noted_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miniagent_redis.store.usage._MOST_NOTED", 4)
    for number in range(5):
        store.note_usage(UsageTotals(turns=1), user_id=f"u{number}")
    assert store.dropped_usage == 3
    assert store.usage().turns == 5


def test_a_session_counts_with_its_turns(lossy_store: Store, proxy: LossyProxy) -> None:
    store = lossy_store
    store.create_session("s", user_id="ada")
    proxy.lose_replies(1)
    turn = store.begin_turn("s", "x")
    proxy.lose_replies(1)
    store.abort_turn(turn, spent=UsageTotals(failed_turns=1))
    turn = store.begin_turn("s", "x")
    spent = UsageTotals(turns=1, input_tokens=5, cached_tokens=2, seconds=0.5, cost=0.01)
    proxy.lose_replies(1)
    store.commit_turn(turn, [Message("assistant", "y")], usage=Usage(5, 3), spent=spent)
    assert proxy.lost == 1
    assert store.usage(session_id="s", user_id="ada") == UsageTotals(
        1, 1, 0, 5, 3, cached_tokens=2, seconds=0.5, cost=0.01
    )


FAILED = UsageTotals(failed_turns=1, input_tokens=5)


@pytest.mark.parametrize("how", ["interrupted", "cleared"])
def test_a_turn_that_others_dropped_counts_once(
    lossy_store: Store, proxy: LossyProxy, how: str
) -> None:
    store = lossy_store
    store.create_session("s")
    turn = store.begin_turn("s", "x")
    if how == "cleared":
        store.clear_thread("s")
    else:
        store.begin_turn("s", "y", on_busy="interrupt")
    before = store.session_state("s").open_turn
    proxy.lose_replies(2)
    assert store.abort_turn(turn, spent=FAILED)
    assert not store.abort_turn(turn)
    assert store.usage(session_id="s") == FAILED
    assert store.session_state("s").open_turn == before


def test_a_turn_counts_once_though_another_begins_before_its_end_is_told(store: Store) -> None:
    store.create_session("s")
    turn = store.begin_turn("s", "x")
    store.abort_turn(turn, spent=FAILED)
    store.begin_turn("s", "y")
    assert store.abort_turn(turn, spent=FAILED)  # sent again
    assert store.usage(session_id="s") == FAILED


def test_what_another_holder_goes_on_with_is_counted_by_him(
    store: Store, clock: ManualClock
) -> None:
    store.create_session("s")
    turn = store.begin_turn("s", "x")
    clock.advance(31)
    resumed = store.resume_turn("s")
    assert resumed is not None
    assert not store.abort_turn(turn, spent=FAILED)
    store.commit_turn(resumed, [Message("assistant", "y")])
    assert not store.abort_turn(turn, spent=FAILED)
    assert store.abort_turn(resumed, spent=FAILED)  # whoever was not told that it is stored
    assert store.usage(session_id="s") == UsageTotals(turns=1)


def test_a_turn_that_ends_after_midnight_counts_for_the_new_day(
    store: Store, clock: ManualClock
) -> None:
    clock._now = datetime(2030, 3, 17, 23, 59, 59, 999_000, UTC).timestamp()
    store.note_usage(UsageTotals(turns=1))
    clock.advance(0.001)
    store.note_usage(UsageTotals(turns=2))
    assert [store.usage(day=f"2030-03-{day}").turns for day in (17, 18)] == [1, 2]
    assert store.usage().turns == 3


def test_totals_of_two_things_at_once_are_not_kept(store: Store) -> None:
    with pytest.raises(InvalidInput, match="day"):
        store.usage(user_id="ada", day="2030-01-01")
    with pytest.raises(InvalidInput, match="day"):
        store.usage(session_id="s", day="2030-01-01")
    with pytest.raises(InvalidInput, match="2026-01-31"):
        store.usage(day="yesterday")
