"""Totals of what turns took: each turn counted once, whatever happens to the replies."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import redis

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.counts import all_counts, totals
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.usage_kinds import MOST_NAMES, DayTotals, ToolTotals, tools_of
from tests.support.proxy import Proxy
from tests.support.words import OpenStore

Store = RedisSessionManager
SPENT = UsageTotals(
    turns=1,
    failed_turns=2,
    unpriced_turns=3,
    input_tokens=40,
    output_tokens=5,
    cached_tokens=6,
    cache_write_tokens=10,
    reasoning_tokens=4,
    tool_calls=7,
    cache_hits=8,
    saved_tokens=9,
    saved_seconds=0.25,
    seconds=1.5,
    cost=0.000123,
)


def test_counts_stand_for_the_same_totals() -> None:
    assert totals(all_counts(SPENT)) == SPENT
    assert all_counts(UsageTotals()) == {}


def test_a_turn_counts_for_its_user_its_day_and_the_namespace(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    clock.set(1_900_000_000.0)
    store.parts.usage.note(SPENT, user_id="ada")
    store.parts.usage.note(UsageTotals(turns=1))
    assert store.usage(user_id="ada") == SPENT
    other = open_store()
    assert other.usage().turns == 2
    assert other.usage(day="2030-03-17") == other.usage(day=date(2030, 3, 17)) == other.usage()
    assert other.usage(user_id="eve") == other.usage(day="2030-03-18") == UsageTotals()


def test_instances_add_up(store: Store, open_store: OpenStore) -> None:
    for one in (store, open_store(), store):
        one.parts.usage.note(UsageTotals(turns=1, cost=0.25), user_id="ada")
        one.parts.usage.flush()
    assert store.usage() == UsageTotals(turns=3, cost=0.75)


def test_a_batch_whose_reply_was_lost_is_counted_once(lossy_store: Store, proxy: Proxy) -> None:
    for times in (1, 3, 1000):  # of the last no reply comes within the call's time
        lossy_store.parts.usage.note(UsageTotals(turns=1))
        proxy.lose_replies(times)
        lossy_store.parts.usage.flush()
        lossy_store.parts.usage.note(UsageTotals(turns=10))
    proxy.lose_replies(0)
    lossy_store.parts.usage.flush()
    assert lossy_store.usage() == UsageTotals(turns=33)


def test_totals_are_forgotten_400_days_after_their_last_use(
    store: Store, client: redis.Redis
) -> None:
    store.parts.usage.note(SPENT, user_id="ada")
    store.parts.usage.flush()
    for key in client.keys("usage:*"):  # type: ignore[union-attr]
        days = client.pttl(key) / 86_400_000  # type: ignore[operator]
        assert 0.9 < days <= 1 if ":batch:" in str(key) else 399 < days <= 400


def test_what_is_noted_is_written_at_the_end(store: Store, open_store: OpenStore) -> None:
    closing = open_store()
    closing.connect()
    closing.parts.usage.note(SPENT)
    closing.disconnect()
    assert store.usage() == SPENT


def test_what_is_noted_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miniagent_redis.store.usage._MOST_NOTED", 4)
    for number in range(5):
        store.parts.usage.note(UsageTotals(turns=1), user_id=f"u{number}")
    assert store.parts.core.tally.dropped_usage == 3
    assert store.usage().turns == 5


def test_a_session_counts_with_its_turns(lossy_store: Store, proxy: Proxy) -> None:
    store = lossy_store
    store.create_session("s", user_id="ada")
    proxy.lose_replies(1)
    turn = store.begin_turn("s", "x")
    proxy.lose_replies(1)
    store.abort_turn(turn, spent=UsageTotals(failed_turns=1))
    turn = store.begin_turn("s", "x")
    spent = UsageTotals(
        turns=1, input_tokens=5, output_tokens=3, cached_tokens=2, seconds=0.5, cost=0.01
    )
    proxy.lose_replies(1)
    store.commit_turn(turn, [Message("assistant", "y")], spent=spent)
    assert proxy.lost == 1
    assert store.usage(session_id="s", user_id="ada") == spent + UsageTotals(failed_turns=1)


FAILED = UsageTotals(failed_turns=1, input_tokens=5)


@pytest.mark.parametrize("how", ["interrupted", "cleared"])
def test_a_turn_that_others_dropped_counts_once(lossy_store: Store, proxy: Proxy, how: str) -> None:
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


@pytest.mark.parametrize("later", [0, 5])
@pytest.mark.parametrize("turns", [0, 3])
def test_a_session_that_was_made_anew_counts_nothing_of_a_turn_before_it(
    store: Store, clock: ManualClock, later: int, turns: int
) -> None:
    store.create_session("s")
    turn = store.begin_turn("s", "x")
    store.delete_session("s")
    clock.advance(later)
    store.create_session("s")
    for number in range(turns if later else 0):
        store.append_to_thread("s", [Message("user", str(number))])
    assert store.abort_turn(turn, spent=FAILED)
    assert store.usage(session_id="s") == UsageTotals()


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
    clock.set(datetime(2030, 3, 17, 23, 59, 59, 999_000, UTC).timestamp())
    store.parts.usage.note(UsageTotals(turns=1))
    clock.advance(0.001)
    store.parts.usage.note(UsageTotals(turns=2))
    assert [store.usage(day=f"2030-03-{day}").turns for day in (17, 18)] == [1, 2]
    assert store.usage().turns == 3


def test_totals_of_two_things_at_once_are_not_kept(store: Store) -> None:
    with pytest.raises(InvalidInput, match="day"):
        store.usage(user_id="ada", day="2030-01-01")
    with pytest.raises(InvalidInput, match="day"):
        store.usage(session_id="s", day="2030-01-01")
    with pytest.raises(InvalidInput, match="2026-01-31"):
        store.usage(day="yesterday")


def test_a_time_with_a_zone_names_the_utc_day_of_that_instant(
    store: Store, clock: ManualClock
) -> None:
    clock.set(datetime(2026, 1, 31, 23, 30, tzinfo=UTC).timestamp())
    store.parts.usage.note(UsageTotals(turns=1))
    now = datetime.fromtimestamp(clock.time(), UTC)
    for hours in (14, 1, 0, -12):
        assert store.usage(day=now.astimezone(timezone(timedelta(hours=hours)))).turns == 1
    assert store.usage(day=datetime(2026, 1, 31)).turns == 1  # its day is meant
    assert store.usage(day=datetime(2026, 2, 1, tzinfo=UTC)).turns == 0
    with pytest.raises(InvalidInput, match="day"):
        store.usage(day=datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))))


def test_a_day_tells_of_models_and_tools_by_any_name(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    clock.set(1_900_000_000.0)
    spent = UsageTotals(turns=1, input_tokens=10, output_tokens=2, cost=0.5)
    weather = {"wetter in:Graz %41 \ud800": ToolTotals(2, 1, 0)}
    store.parts.usage.note(spent, user_id="ada", model="openai:gpt 5/x", tools=weather)
    store.parts.usage.note(spent, model="openai:gpt 5/x", tools={"look": ToolTotals(1, 0, 1)})
    store.parts.usage.note(UsageTotals(output_tokens=3), model="small")
    store.parts.usage.flush()
    before, found = open_store().parts.usage.days(date(2030, 3, 17), 2)
    assert before == DayTotals(date(2030, 3, 16), UsageTotals())
    assert found.models == {"openai:gpt 5/x": spent + spent, "small": UsageTotals(output_tokens=3)}
    assert found.tools == {**weather, "look": ToolTotals(1, 0, 1)}
    assert found.total == spent + spent + UsageTotals(output_tokens=3)
    assert store.usage(day="2030-03-17") == found.total


def test_tools_beyond_the_first_ones_of_a_day_are_counted_together(
    store: Store, clock: ManualClock
) -> None:
    usage = store.parts.usage
    for number in range(MOST_NAMES + 50):
        usage.note(UsageTotals(turns=1), model="m", tools={f"t{number}": ToolTotals(1)})
    found = usage.days(datetime.fromtimestamp(clock.time(), UTC).date(), 1)[0]
    assert len(found.tools) == MOST_NAMES
    assert found.tools["(others)"] == ToolTotals(51)
    assert found.models == {"m": UsageTotals(turns=MOST_NAMES + 50)}
    clock.advance(86_400)
    usage.note(UsageTotals(turns=1), model="m", tools={"new": ToolTotals(1)})
    later = usage.days(datetime.fromtimestamp(clock.time(), UTC).date(), 1)[0]
    assert later.tools == {"new": ToolTotals(1)}


def test_tools_are_counted_that_ran() -> None:
    steps = [
        Message("assistant", ""),
        Message("tool", "1", tool_call_id="a", name="look"),
        Message("tool", "1", tool_call_id="b", name="look", metadata={"is_error": True}),
        Message("tool", "1", tool_call_id="c", name="look", metadata={"cached": True}),
        Message("tool", "no such tool", tool_call_id="d", name="x", metadata={"not_run": True}),
    ]
    assert tools_of(steps) == {"look": ToolTotals(3, 1, 1)}


def test_a_users_totals_tell_the_last_days_from_each_other_and_no_more(
    store: Store, open_store: OpenStore, clock: ManualClock, client: redis.Redis
) -> None:
    clock.set(1_900_000_000.0)
    usage = store.parts.usage
    sizes = []
    for number in range(70):
        usage.note(UsageTotals(turns=1, output_tokens=number, cost=0.5), user_id="ada", model="m")
        usage.note(UsageTotals(turns=1), user_id="bo")
        usage.flush()
        sizes.append(client.hlen("usage:{totals}:user:ada"))
        clock.advance(86_400)
    last = datetime.fromtimestamp(clock.time(), UTC).date() - timedelta(days=1)
    found = open_store().parts.usage.days(last, 35, "ada")
    assert [one.day for one in found] == [last - timedelta(days=n) for n in range(34, -1, -1)]
    assert [one.total.output_tokens for one in found] == [0] * 4 + list(range(39, 70))
    assert found[-1].total == UsageTotals(turns=1, output_tokens=69, cost=0.5)
    assert max(sizes) == sizes[-1] == sizes[-20] <= 31 * 3 + 3
    assert store.usage(user_id="ada") == UsageTotals(
        turns=70, output_tokens=sum(range(70)), cost=35.0
    )
    assert usage.days(last, 1, "eve")[0].total == UsageTotals()
    assert usage.of_users(["bo", "eve"]) == [UsageTotals(turns=70), UsageTotals()]
    assert usage.forget("ada")
    assert usage.days(last, 1, "ada")[0].total == UsageTotals()


def test_days_of_a_user_in_another_namespace_are_not_told(open_store: OpenStore) -> None:
    one, other = open_store(namespace="acme"), open_store(namespace="globex")
    one.parts.usage.note(UsageTotals(turns=1), user_id="ada")
    one.parts.usage.flush()
    today = datetime.fromtimestamp(one.clock.time(), UTC).date()
    assert one.parts.usage.days(today, 1, "ada")[0].total.turns == 1
    assert other.parts.usage.days(today, 1, "ada")[0].total.turns == 0
