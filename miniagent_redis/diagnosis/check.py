"""What one check has found, as plain data."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ..fsck import Finding

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


def not_checked(name: str, why: str = "") -> Check:
    """Return the check that could not be made."""
    return Check(name, "skip", f"not checked: {why}" if why else "not checked")
