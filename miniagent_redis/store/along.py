"""Writing what is noted along with a turn, so that a process may end at any moment after it.

Indexes and totals are derived. They are written with the first turn after a quiet second, then in
batches, once a second. A worker that is forked for a job, and ends by ``os._exit``, has nobody who
would do that later: it writes them with each turn, as long as these are few.
"""

from __future__ import annotations

import os

from ..runtime.forking import reset_after_fork
from .core import StoreCore
from .index import Index
from .usage import UsageCounts

MOST, MOST_FORKED = 1, 20
"""So many times in a second, also in a forked child; what is noted after that waits for the batch.
"""


class Along:
    """What is noted in one namespace, written at the end of a turn."""

    def __init__(self, core: StoreCore, index: Index, usage: UsageCounts) -> None:
        self._core = core
        self._index = index
        self._usage = usage
        self._pid = os.getpid()
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._since = float("-inf")
        self._count = 0

    def write(self) -> None:
        """Write it now, unless that was done often in this second, or Redis is away.

        Two round trips. Raises nothing: while Redis is away it is kept for the next time.
        """
        now = self._core.clock.monotonic()
        if now - self._since >= 1.0:
            self._since, self._count = now, 0
        self._count += 1
        most = MOST if os.getpid() == self._pid else MOST_FORKED
        if self._count <= most and not self._core.connections.availability.is_down:
            self._index.flush()
            self._usage.flush()
