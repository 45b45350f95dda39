"""A pool of daemon threads that start when needed, end when closed and are renewed by a fork.

Not a ThreadPoolExecutor: that one's threads hold up the interpreter's exit, and a forked child
inherits it without them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from math import isinf
from queue import Empty, SimpleQueue

from attrs import define, evolve, field

from .forking import reset_after_fork

_Job = Callable[[], object]


@define(eq=False)
class _Crew:
    """The threads of a pool between two closings, and what they share."""

    count: int = 0
    dismissed: int = 0
    jobs: SimpleQueue[_Job | None] = field(factory=SimpleQueue)  # None: one thread may end
    spare: SimpleQueue[None] = field(factory=SimpleQueue)  # one for each that has done its job

    def has_spare(self) -> bool:
        """Whether one of them is free, for the one who asks."""
        with suppress(Empty):
            self.spare.get_nowait()
            return True
        return False

    def dismiss(self) -> None:
        """Let those that do not know it yet end, once the jobs so far are done."""
        while self.dismissed < self.count:
            self.jobs.put(None)
            self.dismissed += 1


class Pool:
    """Up to ``size`` threads, each started when there is none to spare.

    Safe for threads, and usable again after ``close``. A pool that is dropped closes itself.
    """

    def __init__(self, name: str, size: float) -> None:
        self._name = name
        self._size = size
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the crew
        self._crew = _Crew()

    def submit(self, job: _Job) -> None:
        """Run the job, which must not raise, as soon as a thread is free.

        Raises RuntimeError when a thread is needed and the system has no more.
        """
        with self._lock:
            crew = self._crew
            if not crew.has_spare() and crew.count < self._size:
                self._start(crew)
            crew.jobs.put(job)
            if crew is not self._crew:
                # Closed by a signal handler, perhaps before the job was there: one more does it.
                self._start(crew)
                crew.dismiss()

    def _start(self, crew: _Crew) -> None:
        crew.count += 1
        try:
            _Seat(crew.jobs, crew.spare, self._name, self._size).start()
        except BaseException:
            crew.count -= 1
            raise

    def close(self) -> None:
        """Let the threads end once the jobs so far are done. Waits for nothing."""
        with self._lock:
            crew, self._crew = self._crew, _Crew()
            crew.dismiss()

    def __del__(self) -> None:
        if hasattr(self, "_crew"):  # or it was never quite made
            self.close()


@define(eq=False)
class _Seat:
    """One thread's place in a pool. It does not know the pool, which it would keep alive."""

    jobs: SimpleQueue[_Job | None]
    spare: SimpleQueue[None]
    name: str
    of: float
    is_left: bool = False

    def start(self) -> None:
        threading.Thread(target=_work, args=(self,), name=self.name, daemon=True).start()


_seat = threading.local()


def make_room() -> None:
    """Let another thread take the place of this one in its pool, as it will wait for others.

    This one ends with its job. Does nothing in a thread of no pool, or of one without an end.
    """
    seat: _Seat | None = getattr(_seat, "taken", None)
    if seat is None or seat.is_left or isinf(seat.of):
        return
    seat.is_left = True
    try:
        evolve(seat, is_left=False).start()
    except RuntimeError:  # the system has no more threads
        seat.is_left = False
        return
    seat.spare.put(None)


def _work(seat: _Seat) -> None:
    _seat.taken = seat
    while (job := seat.jobs.get()) is not None:
        job()
        del job
        if seat.is_left:
            return
        seat.spare.put(None)
