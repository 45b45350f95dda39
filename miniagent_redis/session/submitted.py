"""Turns that run in threads of the agent's own, and what to do about them at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from .._mirror import Pool
from ..forking import anew_in_child
from ..models import TurnResult

_WORKERS = 32


class SubmittedTurns:
    """Runs turns in daemon threads: one that hangs cannot hold up the end of the program.

    Safe for threads. A forked child starts with none.
    """

    def __init__(self) -> None:
        self._pool = Pool("miniagent-redis-turn", _WORKERS)
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the futures
        self._futures: set[Future[TurnResult]] = set()

    def submit(self, run: Callable[[], TurnResult]) -> Future[TurnResult]:
        """Run it as soon as one of the threads is free."""
        future: Future[TurnResult] = Future()
        with self._lock:
            self._futures.add(future)

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(run())
                except BaseException as exc:
                    future.set_exception(exc)
            with self._lock:
                self._futures.discard(future)

        self._pool.submit(job)
        return future

    def finish(self, timeout: float) -> bool:
        """Wait for all of them; cancel what has not begun by then. Return whether all ended."""
        with self._lock:
            futures = list(self._futures)
        late = wait(futures, timeout).not_done
        for future in late:
            future.cancel()
        self._pool.close()
        return not late
