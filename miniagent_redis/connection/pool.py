"""Connections held at hand between calls: the one used last comes first, the longest wait too.

Leaves out what goes over them, and what their faults mean.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import get_ident
from typing import Any

from attrs import astuple, frozen

from ..errors import PoolExhausted
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import WeakRegistry
from .link import Link

_LOOK_AGAIN = 0.02
"""Seconds after which a waiting thread looks by itself, should nobody have woken it."""
_COLLECT_PAUSE = 5.0
"""Seconds between searches for lost connections: each holds up all threads of the process."""


@frozen
class PoolFigures:
    """How a pool is and what it did. ``in_use``, ``idle``, and threads ``waiting``: now.

    ``most`` connections there may be; it is 0 of a store that is not open. So many were ``made``,
    and so often a thread waited in vain (``exhausted``).
    """

    in_use: int = 0
    idle: int = 0
    waiting: int = 0
    most: int = 0
    made: int = 0
    exhausted: int = 0

    @classmethod
    def sum(cls, several: Sequence[PoolFigures]) -> PoolFigures:
        """Return the figures of several pools as those of one."""
        return cls(*(sum(values) for values in zip(*map(astuple, several), strict=True)))


class _Ticket:
    """A thread's place in the queue."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.thread = get_ident()
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def sleep(self) -> None:
        """Block until woken, or for a little while."""
        # A lock of its own, thrown away: a Condition that is interrupted while it is entered stays
        # locked, for all.
        self._asleep.acquire(timeout=max(0.0, min(_LOOK_AGAIN, self.until - time.monotonic())))

    def wake(self) -> None:
        with suppress(RuntimeError):  # it is awake
            self._asleep.release()


class Pool:
    """Up to ``most`` connections of ``make``, the idle ones on a stack. Safe for threads.

    They are counted by weak references: one that a signal handler's exception, thrown between any
    two lines, left with nobody is collected and no longer counts. Who finds them all in use waits
    up to ``wait`` seconds, first come, first served. A forked child starts with none. ``greet`` is
    called with each one that was connected; if it raises, that is closed.
    """

    _next_collection = 0.0

    def __init__(
        self,
        make: Callable[[], Link],
        most: int,
        wait: float,
        greet: Callable[[Link], None] = lambda _: None,
    ) -> None:
        self._make = make
        self._greet = greet
        self._most = most
        self._wait = wait
        self._generation = self._made = self._exhausted = 0
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._alive: WeakRegistry[Link] = WeakRegistry()
        self._idle: list[Link] = []
        # By weak references too: the place of a thread that was interrupted holds up nobody.
        self._queue: deque[weakref.ref[_Ticket]] = deque()
        self._making = threading.RLock()

    def take(self) -> Link:
        """Return a connection in order, for one exchange; give it back whatever happens.

        Raises PoolExhausted when none came back in time, and redis-py's errors of connecting.
        """
        if not self._queue and (link := self._idle_or_new()) is not None:
            return link
        ticket = _Ticket(time.monotonic() + self._wait)
        place = weakref.ref(ticket)
        try:
            self._queue.append(place)
            while True:
                is_late = time.monotonic() >= ticket.until
                if is_late:
                    self._collect()
                if self._is_first(ticket) and (link := self._idle_or_new()) is not None:
                    return link
                if is_late:
                    self._exhausted += 1
                    raise PoolExhausted(self._most, self._wait)
                ticket.sleep()
        finally:
            self._leave(place)
            self._wake()

    def give(self, link: Link, *, in_order: bool) -> None:
        """Take a connection back; one that is not in order is disconnected and forgotten.

        All are let go of when it is outdated, and looked at before their next use if it broke.
        """
        if link.is_outdated and link.generation == self._generation:
            self.renew()
        if in_order and link.generation == self._generation:
            self._idle.append(link)
        else:
            link.disconnect()
            self._alive.discard(link)
            for other in self._idle.copy():
                other.distrust()
        if self._queue:
            self._wake()

    def renew(self) -> None:
        """Let go of all connections, those in use when they are given back."""
        self._generation += 1
        idle, self._idle = self._idle, []
        for link in idle:
            self.give(link, in_order=False)

    def is_another_answered(self, seconds: float, instead_of: Any) -> bool:
        """Whether a new connection is answered within so many seconds; it is not kept.

        And before anything comes on the socket ``instead_of``, if that is not None.
        """
        return self._make().answers_within(seconds, instead_of)

    def close(self) -> None:
        """Disconnect all of them, those in use too."""
        self._idle.clear()
        for link in list(self._alive):
            link.disconnect()

    def figures(self) -> PoolFigures:
        """Return how it is now, and what it did."""
        alive, idle = len(self._alive), len(self._idle)
        return PoolFigures(
            max(0, alive - idle), idle, len(self._queue), self._most, self._made, self._exhausted
        )

    def _idle_or_new(self) -> Link | None:
        """Return a connection that may be used, or None if all of them are in use."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return self._new()
            if link.generation == self._generation and link.is_quiet():
                return link
            # Something unread, or closed by the server: it must not be used as it is. Or given back
            # while another thread let go of all.
            self.give(link, in_order=False)

    def _new(self) -> Link | None:
        if len(self._alive) >= self._most:
            return None
        link = self._make()
        link.generation = self._generation
        with self._making:
            self._alive.add(link)
            if len(self._alive) > self._most:  # others were faster
                self._alive.discard(link)
                return None
        try:
            link.connect()
            self._greet(link)
        except BaseException:
            self.give(link, in_order=False)
            raise
        self._made += 1
        return link

    def _is_first(self, ticket: _Ticket) -> bool:
        """Whether nobody has waited longer who still waits."""
        now = time.monotonic()
        for place in list(self._queue):
            other = place()
            if other is ticket:
                return True
            if other is None:
                self._leave(place)
            # One of this very thread is below us on the stack: a signal handler called.
            if other is not None and other.until > now and other.thread != ticket.thread:
                return False
        return True

    def _leave(self, place: weakref.ref[_Ticket]) -> None:
        with suppress(ValueError):  # another thread was faster
            self._queue.remove(place)

    def _wake(self) -> None:
        """Wake the thread that has waited longest."""
        now = time.monotonic()
        for place in list(self._queue):
            ticket = place()
            if ticket is not None and ticket.until > now:
                return ticket.wake()

    def _collect(self) -> None:
        """Find connections that were lost in circles of references."""
        now = time.monotonic()
        if len(self._alive) >= self._most and now >= Pool._next_collection:
            Pool._next_collection = now + _COLLECT_PAUSE
            gc.collect()
