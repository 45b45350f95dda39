"""Riding out an outage: try again with growing pauses, say so once, give up when time is over."""

from __future__ import annotations

import logging
import random
import time

from ..errors import MiniAgentError
from .clock import Clock

log: logging.Logger = logging.getLogger("miniagent_redis")
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25


class Patience:
    """What one waiting call does while Redis is away; ``timeout`` in seconds, None for ever."""

    def __init__(self, clock: Clock, what: str, timeout: float | None) -> None:
        self._clock = clock
        self._what = what
        self._timeout = timeout
        self._since: float | None = None
        self._pause = _FIRST_PAUSE

    def pause(self, error: MiniAgentError) -> None:
        """Wait up to a quarter of a second; raise ``error`` if the outage has taken too long."""
        time.sleep(self.next_pause(error))

    def next_pause(self, error: MiniAgentError) -> float:
        """Return for how many seconds to wait; raise ``error`` if it has taken too long."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since, self._pause = now, _FIRST_PAUSE
            log.warning("%s is interrupted, and goes on when Redis answers: %s", self._what, error)
        if self._timeout is not None and now - self._since >= self._timeout:
            raise error
        pause = self._pause * random.uniform(0.5, 1.0)
        if self._timeout is not None:
            pause = min(pause, self._since + self._timeout - now)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause

    def end(self) -> None:
        """Note that Redis answers."""
        self._since = None
