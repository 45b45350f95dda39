"""Scripts that count: rate limits, requests taken back, totals of what turns took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..core import StoreCore


class Counter(NamedTuple):
    """One limit: so much in the window; ``cost`` has to fit, ``added`` is what is counted."""

    limit: int
    window_ms: int
    cost: int
    added: int


class Counted(NamedTuple):
    """The request passed; what is left of each limit."""

    left: list[int]
    now_ms: int


class Limited(NamedTuple):
    """The limit with this number, from 1 on, is used up, for so long."""

    number: int
    wait_ms: int


def rate_limit(
    core: StoreCore, counters: Mapping[str, Counter], *, request_id: str
) -> Counted | Limited:
    """Count a request against limits, by their keys: all or none."""
    numbers = [number for counter in counters.values() for number in counter]
    now = core.script_now()
    status, *found = core.run("rate_limit", list(counters), now, request_id, *numbers)
    return Limited(*found) if status == "limited" else Counted(*found)


def take_back(
    core: StoreCore, windows: Mapping[str, int], *, request_id: str, counted_at: int
) -> None:
    """Count a request no more; ``windows`` are those of its limits in ms, by their keys."""
    core.run("take_back", list(windows), request_id, counted_at, *windows.values())


class Reserved(NamedTuple):
    """What a request may take of one budget; ``every`` is ``day``, ``month`` or empty."""

    limit: int
    every: str
    least: int
    wanted: int
    kept_ms: int


class Spent(NamedTuple):
    """What a request took of one budget."""

    every: str
    amount: int
    kept_ms: int


class Exceeded(NamedTuple):
    """Of the budget with this number, from 1 on, only so much is left."""

    number: int
    left: int
    now_ms: int


def reserve_budget(
    core: StoreCore, budgets: Mapping[str, Reserved], *, request_id: str, held_ms: int
) -> Exceeded | None:
    """Reserve what a request may take of budgets, by their keys: of all or of none."""
    numbers = [number for one in budgets.values() for number in one]
    now = core.script_now()
    status, *found = core.run("reserve_budget", list(budgets), now, request_id, held_ms, *numbers)
    return Exceeded(*found) if status == "exceeded" else None


def settle_budget(
    core: StoreCore, budgets: Mapping[str, Spent], *, request_id: str, held_ms: int
) -> None:
    """Count what a request took, by the keys of budgets, once."""
    numbers = [number for one in budgets.values() for number in one]
    now = core.script_now()
    core.run("settle_budget", list(budgets), now, request_id, held_ms, *numbers)


def add_usage(
    core: StoreCore,
    sender: str,
    totals: Mapping[str, str],
    *,
    batch: int,
    remembered_ms: int,
    kept_ms: int,
    oldest: str,
) -> None:
    """Add a batch of counts to totals, by their keys, once. ``sender`` is the key of its number.

    Of what is counted by day the days before the ``oldest``, as 2026-01-31, are let go of.
    """
    keys = [sender, *totals]
    core.run("add_usage", keys, batch, remembered_ms, kept_ms, oldest, *totals.values())
