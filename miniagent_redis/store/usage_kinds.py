"""What turns took by model and tool, in a day's totals, and by day, in a user's: fields, and back.

No key and no exchange of their own: they are written with those totals, and end with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache
from urllib.parse import quote, unquote

from attrs import Factory, frozen

from ..models import Message, UsageTotals
from .counts import totals

MOST_NAMES = 200
"""Models and tools that a process counts by name, on one day; clients may name tools of theirs."""
OTHERS = "(others)"
USER_DAYS = 31
"""So many days, today's the last, are told from each other in a user's totals."""
_LONGEST = 100  # characters of a name
_OF_PART = ("turns", "failed_turns", "input_tokens", "output_tokens", "nano_usd")
Counts = dict[str, int]


@frozen
class ToolTotals:
    """How often a tool was called: some ``failed``, of some the result was ``cached``."""

    calls: int = 0
    failed: int = 0
    cached: int = 0

    def __add__(self, other: ToolTotals) -> ToolTotals:
        return ToolTotals(
            self.calls + other.calls, self.failed + other.failed, self.cached + other.cached
        )


@frozen
class DayTotals:
    """What the turns of one day (UTC) took, together, by model and by tool."""

    day: date
    total: UsageTotals
    models: Mapping[str, UsageTotals] = Factory(dict)
    tools: Mapping[str, ToolTotals] = Factory(dict)


def tools_of(steps: Iterable[Message]) -> dict[str, ToolTotals]:
    """Return how often the steps of a turn ran each tool."""
    found: dict[str, ToolTotals] = {}
    for step in steps:
        if step.role == "tool" and not step.metadata.get("not_run"):
            failed, cached = (bool(step.metadata.get(name)) for name in ("is_error", "cached"))
            name = step.name or ""
            found[name] = found.get(name, ToolTotals()) + ToolTotals(1, int(failed), int(cached))
    return found


def counts_of(
    counts: Counts, model: str, tools: Mapping[str, ToolTotals]
) -> Iterator[tuple[str, Counts]]:
    """Return a turn's counts as those of its model, and those of tools, by how fields begin.

    A name, which is any text, has no spaces there.
    """
    if of_model := _part(counts):
        yield _prefix("model", model), of_model
    for tool, ran in tools.items():
        amounts = {"calls": ran.calls, "failed": ran.failed, "cached": ran.cached}
        yield _prefix("tool", tool), {name: count for name, count in amounts.items() if count}


def of_day(day: date, counts: Counts) -> Counts:
    """Return the counts of a user's day as fields of the totals of that user."""
    return {f"{day.isoformat()}:{name}": count for name, count in _part(counts).items()}


def oldest_day(today: date) -> str:
    """Return the first of the days that are told from each other, as their fields begin."""
    return (today - timedelta(days=USER_DAYS - 1)).isoformat()


def others(prefix: str) -> str:
    """Return what fields begin with of all that are not counted by name."""
    return _prefix(prefix.partition(":")[0], OTHERS)


def day_totals(day: date, counts: Mapping[str, int]) -> DayTotals:
    """Return what the counts of a day stand for."""
    kinds: dict[str, dict[str, Counts]] = {"model": {}, "tool": {}}
    for field, count in counts.items():
        kind, _, rest = field.partition(":")
        name, _, what = rest.partition(":")
        if kind in kinds and what:
            shown = unquote(name, errors="surrogatepass")
            kinds[kind].setdefault(shown, {})[what] = count
    return DayTotals(
        day,
        totals(counts),
        {name: totals(found) for name, found in kinds["model"].items()},
        {
            name: ToolTotals(found.get("calls", 0), found.get("failed", 0), found.get("cached", 0))
            for name, found in kinds["tool"].items()
        },
    )


def user_day_totals(day: date, counts: Mapping[str, int]) -> DayTotals:
    """Return what the counts of a user stand for that are of this day."""
    start = f"{day.isoformat()}:"
    its = {name.removeprefix(start): n for name, n in counts.items() if name.startswith(start)}
    return DayTotals(day, totals(its))


def _part(counts: Counts) -> Counts:
    return {name: counts[name] for name in _OF_PART if name in counts}


@lru_cache(MOST_NAMES)
def _prefix(kind: str, name: str) -> str:
    raw = (name[:_LONGEST] or "(no name)").encode("utf-8", "surrogatepass")
    return f"{kind}:{quote(raw, safe='')}"
