"""Charts of totals as plain numbers, of which a template draws SVG: the browser needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from ...models import UsageTotals
from ...store.usage_kinds import DayTotals, ToolTotals
from .words import counted, money, number, one_line

DAYS = 30
WIDTH, HEIGHT = 720.0, 120.0
_LONGEST_NAME = 40
_MOST_BARS = 10


@frozen
class Bar:
    """One bar: what it is about, what is said of it, and how long its two parts are.

    ``first`` and ``second`` are from 0 to ``HEIGHT`` in columns, to 100 in bars that lie.
    """

    name: str
    key: str
    told: Sequence[str]
    first: float
    second: float
    at: float = 0.0
    """Where a column begins."""
    width: float = 0.0


@frozen
class Bars:
    """One chart. ``links`` says of what its keys are the ids: "user", "session" or nothing."""

    title: str
    bars: Sequence[Bar]
    most: int
    """What the longest bar stands for."""
    parts: tuple[str, str] = ("in", "out")
    heads: Sequence[str] = ("Tokens", "Turns", "Cost")
    is_columns: bool = False
    links: str = ""


def of_days(days: Sequence[DayTotals]) -> Bars:
    """Return a column for each day, side by side in their order."""
    most = max((day.total.total_tokens for day in days), default=0)
    step = WIDTH / max(len(days), 1)
    scale = HEIGHT / most if most else 0.0
    return Bars(
        f"Tokens by day, the last {len(days)} days (UTC)",
        [
            Bar(
                day.day.isoformat(), "",
                (
                    number(day.total.total_tokens), counted(day.total.turns, "turn"),
                    money(day.total.cost),
                ),
                round(day.total.input_tokens * scale, 2), round(day.total.output_tokens * scale, 2),
                round(place * step + 1, 2), round(step - 2, 2),
            )
            for place, day in enumerate(days)
        ],
        most,
        is_columns=True,
    )  # fmt: skip


def of_models(days: Sequence[DayTotals]) -> Bars:
    """Return what models used on these days together."""
    found: dict[str, UsageTotals] = {}
    for day in days:
        for name, total in day.models.items():
            found[name] = found.get(name, UsageTotals()) + total
    return bars(list(found.items()), f"Tokens by model, the last {len(days)} days")


def of_tools(days: Sequence[DayTotals]) -> Bars:
    """Return how often tools ran on these days together."""
    found: dict[str, ToolTotals] = {}
    for day in days:
        for name, ran in day.tools.items():
            found[name] = found.get(name, ToolTotals()) + ran
    largest = sorted(found.items(), key=lambda one: -one[1].calls)[:_MOST_BARS]
    most = max((ran.calls for _, ran in largest), default=0)
    scale = 100.0 / most if most else 0.0
    return Bars(
        f"Calls by tool, the last {len(days)} days",
        [
            Bar(
                one_line(name, _LONGEST_NAME), "",
                (number(ran.calls), number(ran.failed), number(ran.cached)),
                round((ran.calls - ran.failed) * scale, 2), round(ran.failed * scale, 2),
            )
            for name, ran in largest
        ],
        most,
        parts=("done", "failed"),
        heads=("Calls", "Failed", "Cached"),
    )  # fmt: skip


def bars(
    found: Sequence[tuple[str, UsageTotals]],
    title: str,
    names: Mapping[str, str] | None = None,
    links: str = "",
) -> Bars:
    """Return a bar for each of the largest totals, one below the other."""
    largest = sorted(found, key=lambda one: -one[1].total_tokens)[:_MOST_BARS]
    most = max((total.total_tokens for _, total in largest), default=0)
    scale = 100.0 / most if most else 0.0
    return Bars(
        title,
        [
            Bar(
                one_line((names or {}).get(key) or key, _LONGEST_NAME), key,
                (number(total.total_tokens), number(total.turns), money(total.cost)),
                round(total.input_tokens * scale, 2), round(total.output_tokens * scale, 2),
            )
            for key, total in largest
        ],
        most,
        links=links,
    )  # fmt: skip
