"""What turns took as whole numbers, as Redis adds them up; and back."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import asdict

from ..models import UsageTotals

_SCALES = {"saved_seconds": 1000, "seconds": 1000, "cost": 1_000_000_000}
_NAMES = {"saved_seconds": "saved_ms", "seconds": "ms", "cost": "nano_usd"}
_IN_SESSION = ("turns", "input_tokens", "output_tokens", "tool_calls")  # counted with each commit
FIELDS = tuple(_NAMES.get(name, name) for name in asdict(UsageTotals()))


def all_counts(spent: UsageTotals) -> dict[str, int]:
    """Return the counts that are not zero, by the names they have in Redis."""
    counts = {
        _NAMES.get(name, name): max(0, round(amount * _SCALES.get(name, 1)))
        for name, amount in asdict(spent).items()
    }
    return {name: count for name, count in counts.items() if count}


def further_counts(spent: UsageTotals) -> dict[str, int]:
    """Return the counts that a session's metadata does not have anyway."""
    return {name: n for name, n in all_counts(spent).items() if name not in _IN_SESSION}


def packed(counts: Mapping[str, int]) -> str:
    """Return counts as scripts take them."""
    return " ".join(f"{name} {count}" for name, count in counts.items())


def totals(counts: Mapping[str, int]) -> UsageTotals:
    """Return what counts stand for."""
    amounts = {
        name: counts.get(_NAMES.get(name, name), 0) / _SCALES.get(name, 1) for name in _SCALES
    }
    whole = {name: counts.get(name, 0) for name in asdict(UsageTotals()) if name not in _SCALES}
    return UsageTotals(**whole, **amounts)  # type: ignore[arg-type]
