"""Waiting for what nobody tells, and for the end of a process that is not ours."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from miniagent_redis.runtime.clock import ManualClock

LIMIT = 30.0  # seconds for anything to happen, on however slow a machine
_POLL = 0.002


def until(condition: Callable[[], object], limit: float = LIMIT) -> None:
    """Block until the condition holds; fail after ``limit`` seconds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"it did not come to pass in {limit:g} s"
        time.sleep(_POLL)


def let_time_pass(clock: ManualClock, step: float, condition: Callable[[], object]) -> None:
    """Move time forward, by ``step`` seconds again and again, until the condition holds.

    Once is not enough for another thread that looked at the clock just before: it begins to wait
    when time has moved already.
    """

    def is_so() -> bool:
        clock.advance(step)
        return bool(condition())

    until(is_so)


def is_alive(pid: int) -> bool:
    """Say whether the process runs; one that only waits for init to take note of it does not."""
    if not os.path.exists("/proc/self/stat"):
        done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
        return done.stdout.strip()[:1] not in ("", "Z")
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for_the_end_of(pid: int) -> None:
    until(lambda: not is_alive(pid))
