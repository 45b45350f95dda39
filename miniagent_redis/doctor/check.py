"""What one check has found, as plain data, and what all of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from .fsck import Finding

Verdict = Literal["ok", "warn", "fail", "skip"]
"""``skip``: not checked, so nobody knows."""


@frozen
class Check:
    """One line of the report: what was found, and the command or the step that mends it.

    ``findings`` are those of fsck that it sums up.
    """

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""
    findings: tuple[Finding, ...] = ()


def not_checked(name: str, why: str = "", fix: str = "") -> Check:
    """Return the check that could not be made."""
    return Check(name, "skip", f"not checked: {why}" if why else "not checked", fix)


def left_out(checks: Sequence[Check]) -> Check | None:
    """Return one line for all that was not checked, each reason told once; None without any.

    When the server could not be reached, that check tells why.
    """
    is_reached = all(check.name != "reachable" or check.verdict != "fail" for check in checks)
    reasons: dict[str, list[str]] = {}
    fixes = ""
    for check in checks:
        if check.verdict == "skip":
            why = check.detail.partition(": ")[2] if is_reached else ""
            reasons.setdefault(why, []).append(check.name)
            fixes = fixes or (check.fix if is_reached else "")
    if not reasons:
        return None
    told = (", ".join(names) + (f": {why}" if why else "") for why, names in reasons.items())
    return Check("not checked", "skip", "; ".join(told), fixes)


def verdict(checks: Sequence[Check]) -> Check:
    """Return what all checks come to: what failed, or else what is worth knowing."""
    failed, warned, skipped = (
        [check.name for check in checks if check.verdict == each]
        for each in ("fail", "warn", "skip")
    )
    unknown = f"; {len(skipped)} of {len(checks)} not checked" if skipped else ""
    if failed:
        return Check("verdict", "fail", f"not fit: see {', '.join(failed)}{unknown}")
    if warned:
        return Check("verdict", "warn", f"fit, but see {', '.join(warned)}{unknown}")
    return Check("verdict", "ok", f"fit{unknown}")
