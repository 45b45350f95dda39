"""Checks of what is stored: fsck's findings, summed up in five lines."""

from __future__ import annotations

from collections.abc import Sequence

from .check import Check, Verdict
from .fsck import Finding, Kind

_LINES: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    ("expiry", ("expiry",)),
    (
        "records",
        ("unreadable", "newer_schema", "no_key", "wrong_type", "leftover", "dangling_call"),
    ),
    ("indexes", ("not_indexed", "orphan_entry")),
    ("counters", ("counter",)),
    ("open turns", ("stuck_turn",)),
)
NAMES = tuple(name for name, _ in _LINES)
_FINE = {
    "expiry": "every key has its TTL",
    "records": "all can be read",
    "indexes": "they list what is there",
    "counters": "they agree with the threads",
    "open turns": "none is stuck",
}
# They do no harm: readers skip the one, and the next message mends the other.
_HARMLESS = ("orphan_entry", "stuck_turn")


def data(findings: Sequence[Finding]) -> list[Check]:
    """Sum fsck's findings up, in one check for each line of the report."""
    return [
        _sum_up(name, tuple(finding for finding in findings if finding.kind in kinds))
        for name, kinds in _LINES
    ]


def _sum_up(name: str, found: tuple[Finding, ...]) -> Check:
    left = [finding for finding in found if not finding.repaired]
    if not found:
        return Check(name, "ok", _FINE[name])
    if not left:
        return Check(name, "ok", f"{len(found)} repaired", findings=found)
    count = f"{len(found)} found"
    if len(left) < len(found):
        count += f", {len(found) - len(left)} repaired"
    first = next((each for each in left if each.kind not in _HARMLESS), left[0])
    verdict: Verdict = "warn" if first.kind in _HARMLESS else "fail"
    detail = f"{count}: {first.key}: {first.problem}" + (", …" if len(left) > 1 else "")
    return Check(name, verdict, detail, first.hint, found)
