"""A background thread: runs each job when it is due, by a clock that is passed in.

It knows nothing of what the jobs do. A job that fails is logged, counted and run again at its next
time; nothing ever waits for this thread to answer a user. It holds on to the jobs, and to all that
they are made of, only while it runs them: whoever forgets to stop it is collected all the same.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field, frozen

from ..runtime.clock import Clock
from ..runtime.forking import restart_after_fork
from ..runtime.interrupts import Flag

log: logging.Logger = logging.getLogger("miniagent_redis")

AGAIN: Final = object()
"""What a job returns that left something to do: it is run again when the other due ones have been.
"""


@define(eq=False)
class Job:
    """A function to call every ``interval`` seconds, or sooner if it returns AGAIN.

    ``runs`` counts those that ended, ``failures`` those of them that failed; ``error`` is what the
    last of these raised. ``ended`` is when the last run ended.
    """

    name: str
    interval: float
    run: Callable[[], object]
    runs: int = field(default=0, init=False)
    failures: int = field(default=0, init=False)
    error: str = field(default="", init=False)
    ended: float | None = field(default=None, init=False)  # by the clock's monotonic seconds
    due: float = field(default=0.0, init=False)  # by the clock's monotonic seconds


@frozen
class JobStats:
    """A job of the background thread, since the agent was made."""

    name: str
    interval: float
    """Seconds from one run to the next."""
    runs: int
    """Runs that ended, the failed ones included."""
    failures: int
    error: str
    """What the last run that failed raised; empty if none did."""
    ago: float | None
    """Seconds since a run ended; None before the first. Much more than the interval: it hangs."""


@define(eq=False)
class _Shift:
    """One thread's time at work, from ``start`` to ``stop``."""

    thread: threading.Thread = field(init=False)
    wake: Flag = field(factory=Flag, init=False)
    is_over: bool = field(default=False, init=False)


class Background:
    """Runs jobs in a daemon thread between ``start`` and ``stop``. A forked child starts its own.

    If it is dropped without ``stop``, its thread ends.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock, name: str = "miniagent-redis") -> None:
        self.jobs: list[Job] = list(jobs)
        self._clock = clock
        self._name = name
        self._shift: _Shift | None = None
        self._restart()

    @restart_after_fork
    def _restart(self) -> None:
        if self._shift is not None and not self._shift.is_over:
            self.start()  # the thread did not come along: it is not alive here

    @property
    def is_running(self) -> bool:
        shift = self._shift
        return shift is not None and not shift.is_over and shift.thread.is_alive()

    def start(self, *, at_once: bool = False) -> None:
        """Start the thread; does nothing when it runs already.

        Each job is run for the first time after its interval, or ``at_once``.
        """
        if self.is_running:
            return
        now = self._clock.monotonic()
        for job in self.jobs:
            job.due = now if at_once else now + job.interval
        shift = _Shift()
        owner = weakref.ref(self, lambda _: shift.wake.set())
        shift.thread = threading.Thread(
            target=_work, args=(owner, shift, self._clock), name=self._name, daemon=True
        )
        self._shift = shift  # a thread that was started in the same instant ends by this
        shift.thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Ask the thread to end and wait ``timeout`` seconds; return whether it has ended.

        Twice is fine: if the first time was broken off, the second does the rest.
        """
        shift = self._shift
        if shift is None:
            return True
        shift.is_over = True
        shift.wake.set()
        if shift.thread.ident is None or shift.thread is threading.current_thread():
            return True  # it ends before its next job
        shift.thread.join(timeout)
        return not shift.thread.is_alive()

    def add(self, job: Job) -> None:
        """Run one more job, for the first time after its interval."""
        job.due = self._clock.monotonic() + job.interval
        self.jobs.append(job)
        if self._shift is not None:
            self._shift.wake.set()

    def remove(self, name: str) -> None:
        """Run the job of that name no more."""
        self.jobs = [job for job in self.jobs if job.name != name]

    def stats(self) -> tuple[JobStats, ...]:
        """Return what each job did."""
        now = self._clock.monotonic()
        return tuple(
            JobStats(
                job.name,
                job.interval,
                job.runs,
                job.failures,
                job.error,
                None if job.ended is None else now - job.ended,
            )
            for job in list(self.jobs)
        )

    def run_all(self) -> None:
        """Run every job once, here and now."""
        for job in list(self.jobs):
            self._run(job, Exception)

    def _run_due(self, shift: _Shift) -> float | None:
        """Run what is due; return the seconds until the next job is, None if there is no job."""
        for job in list(self.jobs):
            if shift.is_over or shift is not self._shift:
                shift.is_over = True
                return None
            now = self._clock.monotonic()
            if job.due <= now:
                job.due = now + job.interval
                if self._run(job, BaseException) is AGAIN:
                    job.due = now
        if not self.jobs:
            return None
        return max(0.0, min(job.due for job in self.jobs) - self._clock.monotonic())

    def _run(self, job: Job, faults: type[BaseException]) -> object:
        """Run it; log and count a failure of that type, which must not end the others."""
        result: object = None
        try:
            result = job.run()
        except faults as exc:
            job.failures += 1
            job.error = f"{type(exc).__name__}: {exc}"
            log.warning("the background job %r failed and will be run again: %s", job.name, exc)
        job.runs += 1
        job.ended = self._clock.monotonic()
        return result


def _work(owner: weakref.ref[Background], shift: _Shift, clock: Clock) -> None:
    while not shift.is_over:
        shift.wake.clear()  # before looking: what comes from here on wakes it again
        if (background := owner()) is None:
            log.warning("an agent was dropped without shutdown(); its background thread ends")
            return
        pause = background._run_due(shift)
        del background  # or it would be held while nothing is done
        if not shift.is_over:
            clock.wait(shift.wake, pause)
