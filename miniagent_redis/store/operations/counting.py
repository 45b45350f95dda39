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


def add_usage(
    core: StoreCore,
    sender: str,
    totals: Mapping[str, str],
    *,
    batch: int,
    remembered_ms: int,
    kept_ms: int,
) -> None:
    """Add a batch of counts to totals, by their keys, once. ``sender`` is the key of its number."""
    keys = [sender, *totals]
    core.run("add_usage", keys, batch, remembered_ms, kept_ms, *totals.values())
