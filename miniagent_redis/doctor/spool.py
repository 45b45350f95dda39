"""The check of the spool: what waits on this machine's disk, and what will never be stored."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from ..maintenance.spool import Backlog
from .check import Check, Verdict

_LONG = 600.0
"""Seconds after which a turn that waits is a fault: Redis is down, or nobody replays."""


def spool(folder: Path, backlog: Backlog) -> Check:
    """Tell how many turns wait, since when, and what cannot be stored or read."""
    found = list(_found(folder, backlog))
    if not found:
        return Check("spool", "ok", "no turn waits")
    found.sort(key=lambda each: ("fail", "warn", "ok").index(each[0]))  # the worst tells the fix
    verdict, _, fix = found[0]
    return Check("spool", verdict, "; ".join(detail for _, detail, _ in found), fix)


def _found(folder: Path, backlog: Backlog) -> Iterator[tuple[Verdict, str, str]]:
    if why := _closed(folder):
        yield "fail", why, "create it with rights for this user, or choose another spool_dir"
    if backlog.set_aside:
        yield (
            "fail",
            f"{len(backlog.set_aside)} turns could not be stored: {backlog.set_aside[0]}",
            "read what is in these files (JSON, or the store's own format), then remove them",
        )
    for name, problem in backlog.faults.items():
        yield (
            "fail" if not name else "warn",
            f"{folder / name} cannot be used: {problem}",
            "give this user the right to read and remove it, or take it out of the folder",
        )
    if backlog.oldest is not None:
        age = max(0.0, time.time() - backlog.oldest)
        yield (
            "fail" if age > _LONG else "warn",
            f"{_turns(backlog.waiting)} for Redis, the oldest for {age:.0f} s",
            "start Redis and a program that has this spool_dir: it stores them by itself",
        )
    if backlog.elsewhere:
        yield (
            "warn",
            f"{_turns(len(backlog.elsewhere))} that were spooled under another address of Redis: "
            f"{backlog.elsewhere[0]}",
            "a program with this spool_dir stores those whose sessions are in its Redis; if they "
            "stay, their first line tells which address that was",
        )


def _closed(folder: Path) -> str:
    """Say why nothing could be spooled there, by a look alone; an empty text if it could."""
    there = next(each for each in (folder, *folder.parents) if os.path.exists(each))
    if not there.is_dir():
        return f"{there} is no folder"
    return "" if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"


def _turns(count: int) -> str:
    return "1 turn waits" if count == 1 else f"{count} turns wait"
