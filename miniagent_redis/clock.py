"""Time as a thing that can be passed in: the system's clock, or one that a test moves by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the library asks of a clock."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, for deadlines and durations."""
        ...

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        """Block until ``event`` is set or ``timeout`` seconds passed; return whether it is set."""
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

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        return event.wait(timeout)

    def server_now_ms(self) -> int | None:
        return None


class ManualClock:
    """A clock for tests: stands still until ``advance`` is called, for scripts too.

    It starts at the real time, since Redis itself removes keys by its own clock.
    """

    def __init__(self, start: float | None = None) -> None:
        self._now = time.time() if start is None else start
        self._moved = threading.Condition()

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Move time forward and wake whoever waits on this clock."""
        with self._moved:
            self._now += seconds
            self._moved.notify_all()

    def wait(self, event: threading.Event, timeout: float | None) -> bool:
        deadline = None if timeout is None else self._now + timeout
        with self._moved:
            while not event.is_set() and (deadline is None or self._now < deadline):
                # The event itself cannot notify this condition, so look again now and then.
                self._moved.wait(0.005)
        return event.is_set()

    def server_now_ms(self) -> int | None:
        return round(self._now * 1000)
