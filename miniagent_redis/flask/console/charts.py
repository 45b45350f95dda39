"""Charts of totals as plain numbers, of which a template draws SVG: the browser needs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from ...models import UsageTotals
from .words import one_line

WIDTH, HEIGHT = 720.0, 120.0
_LONGEST_NAME = 40


@frozen
class Bar:
    """One bar: what it is about, and how long its two parts are, from 0 to ``WIDTH`` or so."""

    name: str
    key: str
    total: UsageTotals
    input: float
    output: float
    at: float = 0.0
    """Where a column begins."""
    width: float = 0.0


@frozen
class Bars:
    """One chart. ``links`` says of what its keys are the ids: "user", "session" or nothing."""

    bars: Sequence[Bar]
    most: int
    """Tokens that the longest bar stands for."""
    is_columns: bool = False
    title: str = ""
    links: str = ""


def columns(found: Sequence[tuple[str, UsageTotals]]) -> Bars:
    """Return one column for each total, side by side in their order."""
    most = max((total.total_tokens for _, total in found), default=0)
    step = WIDTH / max(len(found), 1)
    scale = HEIGHT / most if most else 0.0
    return Bars(
        [
            Bar(
                key, key, total,
                round(total.input_tokens * scale, 2), round(total.output_tokens * scale, 2),
                round(number * step + 1, 2), round(step - 2, 2),
            )
            for number, (key, total) in enumerate(found)
        ],
        most,
        is_columns=True,
    )  # fmt: skip


def bars(
    found: Sequence[tuple[str, UsageTotals]], most_bars: int, names: Mapping[str, str] | None = None
) -> Bars:
    """Return a bar for each of the largest totals, one below the other."""
    largest = sorted(found, key=lambda one: -one[1].total_tokens)[:most_bars]
    most = max((total.total_tokens for _, total in largest), default=0)
    scale = 100.0 / most if most else 0.0
    return Bars(
        [
            Bar(
                one_line((names or {}).get(key) or key, _LONGEST_NAME), key, total,
                round(total.input_tokens * scale, 2), round(total.output_tokens * scale, 2),
            )
            for key, total in largest
        ],
        most,
    )  # fmt: skip
