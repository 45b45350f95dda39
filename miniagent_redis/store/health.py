"""Whether Redis answers, as whoever asks is told."""

from __future__ import annotations

import time

from ..connection.availability import Health
from ..connection.faults import ReplyLost
from ..errors import MiniAgentError
from .core import StoreCore


class HealthChecks:
    """Asks the store's Redis for signs of life."""

    def __init__(self, core: StoreCore) -> None:
        self._connections = core.connections

    def health_check(self) -> bool:
        """Whether Redis answers now. Never raises; takes about a second at the most."""
        try:
            self._connections.probe()
        except (MiniAgentError, ReplyLost):
            return False
        return True

    def health(self) -> Health:
        """Ask Redis for a sign of life; return its state, its durability, the latency in seconds.

        Never raises; takes about a second at the most. The state is "down" from the first call
        that could not reach Redis until one does.
        """
        began = time.monotonic()
        answers = self.health_check()
        latency = time.monotonic() - began
        return self._connections.health(latency if answers else None)
