"""Whether Redis answers, as a state: who finds it down pays the wait, who comes after does not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from attrs import frozen

from ..config.durability import Durability
from ..errors import MiniAgentError, StoreUnavailable
from ..runtime.clock import Clock
from ..runtime.forking import reset_after_fork

log: logging.Logger = logging.getLogger("miniagent_redis")
SLOW = 0.1
"""Seconds above which a failed try is not repeated by every caller."""
PAUSE = 1.0
"""Seconds between tries at a server that takes its time to fail."""


@frozen
class Health:
    """How the store is. ``since`` is in seconds since the epoch, ``latency`` in seconds.

    It is ``degraded`` while the server answers and is known to be one that may lose live sessions:
    it may evict them, or keeps nothing on disk. ``error`` tells what is wrong, and what to do.

    ``durability`` says what an acknowledged write survives: ``memory``, ``everysec``, ``always``,
    ``replicated``; ``unknown`` if the server does not tell us, or was not asked.
    """

    state: Literal["healthy", "degraded", "down"]
    since: float
    address: str
    latency: float | None = None
    error: str = ""
    durability: Durability | Literal["unknown"] = "unknown"


class Availability:
    """The state of one server as the calls to it see it. Safe for threads.

    While it is down a call gets one try instead of a chain of them. When that try is slow, as with
    a frozen server, the calls of the next second fail at once, with the error that it met.
    """

    def __init__(self, address: str, clock: Clock) -> None:
        self.on_change: list[Callable[[Health], None]] = []
        self._address = address
        self._clock = clock
        self._error: MiniAgentError | None = None
        self._misgiving: MiniAgentError | None = None
        self._refuses_writes = False
        self._since = clock.time()
        self._next_try = 0.0
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the error and its time

    @property
    def is_down(self) -> bool:
        return self._error is not None

    @property
    def refuses_writes(self) -> bool:
        """Whether it is down for writes only: what reads is answered, and shows nothing."""
        return self.is_down and self._refuses_writes

    def current(self, latency: float | None = None) -> Health:
        """Return the state as of the last call."""
        error, misgiving = self._error, self._misgiving
        state: Literal["healthy", "degraded", "down"] = "healthy"
        if error is not None:
            state = "down"
        elif misgiving is not None:
            state = "degraded"
        return Health(state, self._since, self._address, latency, str(error or misgiving or ""))

    def check_in(self) -> None:
        """Raise StoreUnavailable if a call need not even try."""
        error = self._error
        if error is not None and time.monotonic() < self._next_try:
            raise StoreUnavailable(error.problem, cause=error.cause, hint=error.hint) from error

    def answered(self, *, wrote: bool) -> None:
        """Note that the server did what was asked; ``wrote``: what it might refuse to write."""
        if self._error is not None and (wrote or not self._refuses_writes):
            self._change(None)

    def failed(self, error: MiniAgentError, took: float, *, refuses_writes: bool = False) -> None:
        """Note that the server could not be reached, after ``took`` seconds for the last try."""
        self._refuses_writes = refuses_writes
        if took > SLOW:
            self._next_try = time.monotonic() + PAUSE
        if self._error is None:
            self._change(error)

    def found(self, misgiving: MiniAgentError | None) -> None:
        """Note what is wrong with the server though it answers; told when that changes."""
        with self._lock:
            if str(misgiving or "") == str(self._misgiving or ""):
                return
            self._misgiving = misgiving
            if self._error is not None:
                return  # it is down, which is worse
            self._since = self._clock.time()
        if misgiving is None:
            log.warning("Redis at %s keeps what it is told again", self._address)
        else:
            log.warning("the store is degraded: %s", misgiving)
        for tell in list(self.on_change):
            tell(self.current())

    def _change(self, error: MiniAgentError | None) -> None:
        with self._lock:
            if (self._error is None) == (error is None):
                return  # another thread was faster
            self._error, self._since = error, self._clock.time()
        if error is None:
            log.warning("Redis at %s answers again", self._address)
        else:
            log.error("Redis at %s is down: %s", self._address, error)
        for tell in list(self.on_change):
            tell(self.current())
