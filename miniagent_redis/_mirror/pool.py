"""A pool of daemon threads that start when needed, end when closed and are renewed by a fork.

Not a ThreadPoolExecutor: that one's threads hold up the interpreter's exit, and a forked child
inherits it without them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

_Job = Callable[[], object]


class Pool:
    """Up to ``size`` threads, each started when there is none to spare.

    Safe for threads, and usable again after ``close``. A pool that is dropped closes itself.
    """

    def __init__(self, name: str, size: float) -> None:
        self._name = name
        self._size = size
        self._renew()
        _pools.add(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # over the three below
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._spare = threading.Semaphore(0)  # at least one for each thread that waits for a job
        self._count = 0

    def submit(self, job: _Job) -> None:
        """Run the job, which must not raise, as soon as a thread is free.

        Raises RuntimeError when a thread is needed and the system has no more.
        """
        with self._lock:
            if not self._spare.acquire(blocking=False) and self._count < self._size:
                threading.Thread(
                    target=_work, args=(self._jobs, self._spare), name=self._name, daemon=True
                ).start()
                self._count += 1
            self._jobs.put(job)

    def close(self) -> None:
        """Let the threads end once the jobs so far are done. Waits for nothing."""
        with self._lock:
            for _ in range(self._count):
                self._jobs.put(None)
            self._jobs, self._spare, self._count = SimpleQueue(), threading.Semaphore(0), 0

    def __del__(self) -> None:
        self.close()


def _work(jobs: SimpleQueue[_Job | None], spare: threading.Semaphore) -> None:
    # A function of its own: a thread that knew its pool would keep it alive.
    while (job := jobs.get()) is not None:
        job()
        del job
        spare.release()


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _renew_in_child() -> None:
    for pool in list(_pools):
        pool._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_in_child)
