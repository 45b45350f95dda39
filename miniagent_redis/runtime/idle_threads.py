"""Threads that are kept for a while, for who needs one again: handing it work costs less."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .forking import reset_after_fork

KEPT = 0.25
"""Seconds for which a thread without work waits for some."""
Work = Callable[[], object]


class _Worker:
    """One thread; it has ended once ``is_over``."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Work] = SimpleQueue()
        self._lock = threading.RLock()  # over its end
        self._is_over = False

    def take(self, work: Work) -> bool:
        """Have the work done; return False if the thread has ended."""
        with self._lock:
            if not self._is_over:
                self._work.put(work)
            return not self._is_over

    def next(self) -> Work | None:
        """Return the next work, None if there was none for a while: then the thread is to end."""
        try:
            return self._work.get(timeout=KEPT)
        except Empty:
            with self._lock:
                self._is_over = self._work.empty()
            return None if self._is_over else self._work.get()


class IdleThreads:
    """Runs work in daemon threads that are kept for the next. Safe for threads and forks."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._free: list[_Worker] = []  # each change is one step

    def run(self, work: Work) -> None:
        """Begin to run it, in a thread that is free or a new one. It must not raise."""
        while self._free:
            try:
                worker = self._free.pop()
            except IndexError:
                break
            if worker.take(work):
                return
        worker = _Worker()
        worker.take(work)
        threading.Thread(target=self._serve, args=(worker,), name=self._name, daemon=True).start()

    def _serve(self, worker: _Worker) -> None:
        while (work := worker.next()) is not None:
            work()
            del work  # nothing of it is to live on here
            self._free.append(worker)
