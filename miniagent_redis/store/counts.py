"""What turns took as whole numbers, as Redis adds them up; and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..errors import InvalidInput
from ..models import UsageTotals

NO_TOTALS = UsageTotals()

_SCALES = {"saved_seconds": 1000, "seconds": 1000, "cost": 1_000_000_000}
_NAMES = {"saved_seconds": "saved_ms", "seconds": "ms", "cost": "nano_usd"}
_AMOUNTS = tuple(
    (name, _NAMES.get(name, name), _SCALES.get(name, 1)) for name in UsageTotals.names()
)
_OF_TURN = ("turns", "input_tokens", "output_tokens", "tool_calls")
FIELDS = tuple(count for _, count, _ in _AMOUNTS)


def all_counts(spent: UsageTotals) -> dict[str, int]:
    """Return the counts that are not zero, by the names they have in Redis."""
    counts = {}
    for (_, count, scale), amount in zip(_AMOUNTS, spent.amounts(), strict=True):
        if amount and (whole := round(amount * scale)) > 0:
            counts[count] = whole
    return counts


class TurnCounts(NamedTuple):
    """What a turn took, as the scripts take it that store one: three counts, and the others."""

    input_tokens: int
    output_tokens: int
    tool_calls: int
    further: str

    @classmethod
    def of(cls, spent: UsageTotals) -> TurnCounts:
        """Return the counts; that it is one turn these scripts know.

        Raises InvalidInput for one of the three that is no whole number from 0.
        """
        usual = spent.input_tokens, spent.output_tokens, spent.tool_calls
        for count in usual:
            if type(count) is not int or not 0 <= count < 2**53:
                raise InvalidInput(f"tokens and tool calls are whole numbers from 0, not {usual!r}")
        others = {name: n for name, n in all_counts(spent).items() if name not in _OF_TURN}
        return cls(*usual, packed(others))


def packed(counts: Mapping[str, int]) -> str:
    """Return counts as scripts take them."""
    return " ".join(f"{name} {count}" for name, count in counts.items())


def totals(counts: Mapping[str, int]) -> UsageTotals:
    """Return what counts stand for."""
    return UsageTotals(**{
        name: counts.get(count, 0) / scale if scale > 1 else counts.get(count, 0)
        for name, count, scale in _AMOUNTS
    })  # type: ignore[arg-type]  # fmt: skip
