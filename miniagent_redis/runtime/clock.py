"""Time as a thing that can be passed in: the system's clock, or one that a test moves by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from .checks import with_methods
from .forking import reset_after_fork
from .interrupts import Flag

_LOOK_AGAIN = 0.002  # seconds


class Clock(Protocol):
    """What the library asks of a clock."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for deadlines and durations."""
        ...

    def wait(self, flag: Flag, timeout: float | None) -> bool:
        """Block until ``flag`` is set or ``timeout`` seconds passed; return whether it is set."""
        ...

    def server_now_ms(self) -> int | None:
        """Return the time in ms that scripts should use, or None for the server's own clock."""
        ...


class SystemClock:
    """The clock of this machine; scripts use the server's."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, flag: Flag, timeout: float | None) -> bool:
        return flag.wait(timeout)

    def server_now_ms(self) -> int | None:
        return None


def check_clock(clock: Clock | None) -> Clock:
    """Return the clock, by default that of this machine; raise InvalidInput for what is none."""
    if clock is None:
        return SystemClock()
    return with_methods(clock, "clock", "time", "monotonic", "wait", "server_now_ms")


class ManualClock:
    """A clock for tests: stands still until it is moved, for scripts too.

    It starts at the real time, since Redis itself removes keys by its own clock. Whoever waits on
    it notices within some milliseconds that it was moved.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the time

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward."""
        with self._lock:
            self._now += seconds

    def set(self, now: float) -> None:
        """Make it ``now``, in seconds since the epoch; also to a time that is past."""
        with self._lock:
            self._now = now

    def wait(self, flag: Flag, timeout: float | None) -> bool:
        deadline = None if timeout is None else self._now + timeout
        while not flag.is_set() and (deadline is None or self._now < deadline):
            flag.wait(_LOOK_AGAIN)
        return flag.is_set()

    def server_now_ms(self) -> int | None:
        return round(self._now * 1000)
