"""The check of the spool: what waits on this machine's disk, and what will never be stored."""

from __future__ import annotations

import time

from ..maintenance.spool import Backlog
from .check import Check

_LONG = 600.0
"""Seconds after which a turn that waits is a fault: Redis is down, or nobody replays."""


def spool(backlog: Backlog) -> Check:
    """Tell how many turns wait, since when, and whether any were set aside."""
    if backlog.set_aside:
        return Check(
            "spool",
            "fail",
            f"{len(backlog.set_aside)} turns could not be stored: {backlog.set_aside[0]}",
            "read what is in these files (JSON), then remove them",
        )
    if backlog.oldest is None:
        return Check("spool", "ok", "no turn waits")
    age = max(0.0, time.time() - backlog.oldest)
    turns = "1 turn waits" if backlog.waiting == 1 else f"{backlog.waiting} turns wait"
    return Check(
        "spool",
        "fail" if age > _LONG else "warn",
        f"{turns} for Redis, the oldest for {age:.0f} s",
        "start Redis and a program that has this spool_dir: it stores them by itself",
    )
