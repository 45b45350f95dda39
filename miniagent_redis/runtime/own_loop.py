"""The event loop in which all MCP servers of the process are talked to, in one daemon thread.

It starts with the first server that is opened, anew in a forked child, and stays. Nothing of a
user's runs in it but what makes a transport or headers, so nothing blocks it.
"""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from ..runtime.forking import reset_after_fork
from ..runtime.recall import wait_for
from ..runtime.staying_loops import LoopThread

T = TypeVar("T")
NAME = "miniagent-redis-mcp"  # of the thread


class ServersLoop:
    """Runs coroutines for threads, which wait. Safe for threads and forks."""

    def __init__(self) -> None:
        self._of_parents: list[LoopThread] = []
        self._thread: LoopThread | None = None
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the thread
        if self._thread is not None:
            # Kept for good: what ends with it would close and kill what is the parent's.
            self._of_parents.append(self._thread)
        self._thread = None

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin to run it. Waits for nothing. Raises RuntimeError without a thread to have."""
        try:
            with self._lock:
                if self._thread is None:
                    self._thread = LoopThread(NAME)
            return self._thread.start(coroutine)
        except BaseException:
            coroutine.close()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end; blocks. Is the call recalled, or interrupted, it is cancelled."""
        future = self.start(coroutine)
        try:
            return wait_for(future)
        finally:
            future.cancel()


servers_loop: ServersLoop = ServersLoop()
