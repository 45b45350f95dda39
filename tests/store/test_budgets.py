"""Budgets as scripts keep them: once for each request, by the calendar, and nothing for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from miniagent_redis.errors import BudgetExceeded, InvalidInput
from miniagent_redis.models import Budget, Usage
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.budgets import HELD_MS
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy

Store = RedisSessionManager
WHOSE: dict[str, Any] = {"turn_id": "t", "session_id": "s", "user_id": "ada"}
THOUSAND = [Budget(per="user", tokens=1000)]


def left(store: Store) -> float:
    """Return what is left of the thousand."""
    with pytest.raises(BudgetExceeded) as caught:
        reserve(store, 1001)
    return caught.value.left


def reserve(store: Store, tokens: int, least: int | None = None) -> Any:
    return store.parts.budgets.reserve(
        THOUSAND, Usage(tokens if least is None else least), Usage(tokens), None, **WHOSE
    )


@pytest.mark.parametrize("times", [1, 3])
def test_a_repetition_reserves_and_counts_once(
    lossy_store: Store, proxy: Proxy, times: int
) -> None:
    proxy.lose_replies(times)
    held = reserve(lossy_store, 400)
    assert proxy.lost == times
    assert left(lossy_store) == 600
    proxy.lose_replies(times)
    held.settle(Usage(300, 50))
    assert proxy.lost == times
    assert left(lossy_store) == 650
    held.settle(Usage(300, 50))
    assert left(lossy_store) == 650


def test_as_much_is_reserved_as_is_left(store: Store) -> None:
    reserve(store, 700)
    held = reserve(store, 700, least=100)
    assert left(store) == 0
    held.settle(Usage())
    assert left(store) == 300


def test_what_who_dies_had_reserved_is_free_again(store: Store, clock: ManualClock) -> None:
    held = reserve(store, 700)
    clock.advance(HELD_MS / 1000 - 1)
    assert left(store) == 300
    clock.advance(2)
    assert left(store) == 1000
    held.settle(Usage(100))  # it was only slow
    assert left(store) == 900


def test_of_several_budgets_all_or_none_are_reserved(store: Store) -> None:
    both = [*THOUSAND, Budget(per="session", tokens=50)]
    with pytest.raises(BudgetExceeded) as caught:
        store.parts.budgets.reserve(both, Usage(100), Usage(100), None, **WHOSE)
    assert caught.value.budget == both[1]
    assert left(store) == 1000


def test_a_session_without_a_user_is_a_user_of_its_own(store: Store) -> None:
    for session_id in ("s", "t"):
        whose = {"turn_id": "t", "session_id": session_id, "user_id": None}
        store.parts.budgets.reserve(THOUSAND, Usage(900), Usage(900), None, **whose)
    assert left(store) == 1000


def test_nothing_stays_for_ever(store: Store) -> None:
    reserve(store, 10)
    (key,) = store.client.scan_iter("budget:*")
    assert 0 < store.client.pttl(key) <= THOUSAND[0].kept_ms


def test_a_budget_that_refuses_its_first_request_does_not_stay_either(store: Store) -> None:
    assert left(store) == 1000
    for key in store.client.scan_iter("budget:*"):
        assert store.client.pttl(key) > 0


def test_the_script_knows_the_months_of_the_calendar(store: Store) -> None:
    """The first and the last moment of a month are in the same one, and in no other."""
    core, months = store.parts.core, dict[int, set[int]]()
    key = core.keys.budget("user", "ada", "tokens", "month")
    for year in (1999, 2000, 2024, 2100, 2101):
        for month in range(1, 13):
            first = datetime(year, month, 1, tzinfo=UTC).timestamp()
            end = Budget(per="user", tokens=1, every="month").renewed_at(first)
            assert end is not None
            for at in (first, end - 0.001):
                core.run("reserve_budget", [key], round(at * 1000), "x", 1, 9, "month", 0, 0, 9000)
                found: Any = store.client.hget(key, "period")
                months.setdefault(int(found), set()).add(year * 12 + month)
                store.client.delete(key)
    assert len(months) == 60
    assert all(len(named) == 1 for named in months.values())


@pytest.mark.parametrize(
    "settings",
    [
        {"per": "user"},
        {"per": "users", "tokens": 1},
        {"per": "turn", "tokens": 1, "every": "day"},
        {"per": "user", "tokens": 0},
        {"per": "user", "tokens": 1.5},
        {"per": "user", "cost": -1},
        {"per": "user", "cost": "1"},
        {"per": "user", "tokens": 1, "every": "week"},
    ],
    ids=str,
)
def test_what_is_no_budget_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Budget(**settings)
