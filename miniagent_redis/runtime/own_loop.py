"""Event loops for what the library itself waits for: each in a daemon thread, blocked by nobody.

One starts with the first coroutine, anew in a forked child, and stays. Async functions of users do
not run there, as they might block it: they have loops of their own (``staying_loops.py``).
"""

from __future__ import annotations

import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from .forking import reset_after_fork
from .recall import wait_for
from .staying_loops import LoopThread

T = TypeVar("T")


class OwnLoop:
    """Runs coroutines in a thread with this ``name``. Safe for threads and forks."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._of_parents: list[LoopThread] = []
        self._thread: LoopThread | None = None
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the thread
        if self._thread is not None:
            # Kept for good: what ends with it may close and kill what is the parent's.
            self._of_parents.append(self._thread)
        self._thread = None

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin to run it. Waits for nothing. Raises RuntimeError without a thread to have."""
        try:
            with self._lock:
                if self._thread is None:
                    self._thread = LoopThread(self._name)
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
