"""The one background thread: a heap of due jobs, one event, a clock that is passed in.

It knows nothing of what the jobs do. A job that fails is logged, counted and run again at its
next time; nothing ever waits for this thread to answer a user.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import weakref
from collections.abc import Callable

from attrs import define

from ..clock import Clock

log = logging.getLogger("miniagent_redis")


@define(eq=False)
class Job:
    """A function to call every ``interval`` seconds."""

    name: str
    interval: float
    run: Callable[[], object]
    failures: int = 0


class Background:
    """Runs jobs in a daemon thread between ``start`` and ``stop``. A forked child starts its own.

    The heap and the stop event are shared with the thread; only the thread touches the heap while
    it runs.
    """

    def __init__(self, jobs: list[Job], clock: Clock, name: str = "miniagent-redis") -> None:
        self.jobs = jobs
        self._clock = clock
        self._name = name
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; does nothing when it runs already."""
        if self.is_running:
            return
        self._stop = threading.Event()
        _running.add(self)
        self._thread = threading.Thread(
            target=self._loop, args=(self._stop,), name=self._name, daemon=True
        )
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Ask the thread to end and wait ``timeout`` seconds; return whether it has ended."""
        _running.discard(self)
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _loop(self, stop: threading.Event) -> None:
        order = itertools.count()
        now = self._clock.monotonic()
        due = [(now + job.interval, next(order), job) for job in self.jobs]
        heapq.heapify(due)
        while due and not self._clock.wait(stop, max(0.0, due[0][0] - self._clock.monotonic())):
            _, _, job = heapq.heappop(due)
            self._run(job)
            heapq.heappush(due, (self._clock.monotonic() + job.interval, next(order), job))

    def run_all(self) -> None:
        """Run every job once, here and now."""
        for job in self.jobs:
            self._run(job)

    def _run(self, job: Job) -> None:
        try:
            job.run()
        except Exception as exc:  # a failing job must not end the others
            job.failures += 1
            log.warning("the background job %r failed and will be run again: %s", job.name, exc)


_running: weakref.WeakSet[Background] = weakref.WeakSet()


def _restart_in_child() -> None:
    for background in list(_running):
        background.start()  # the thread did not come along: it is not alive here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_in_child)
