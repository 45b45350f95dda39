"""Items that an iterator gives in a thread of its own, so that whoever waits for one can go.

Python cannot interrupt a call that blocks: it goes on until it ends by itself, but nobody waits for
it, and what it gives is thrown away. One that has a connection can have it cut. The thread reads
some items ahead, so that those that come together cost one change of threads.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Generator
from contextvars import ContextVar, copy_context
from math import inf
from queue import SimpleQueue
from time import monotonic, thread_time
from typing import Any, Generic, TypeVar

from .idle_threads import IdleThreads
from .inbox import AHEAD, Check, Inbox
from .interrupts import Bell
from .pausing import Pause

log: logging.Logger = logging.getLogger("miniagent_redis")
T = TypeVar("T")
_COMPUTES = 0.00025
"""Seconds for which the thread computes at the most while an item may wait for who takes it."""
_SOON = 0.0005
"""Seconds in which a function that only computes has answered."""
_ENDS_WITHIN = 0.2
"""Seconds for which one who goes between two items waits for the iterator to be closed."""


class Left(BaseException):
    """Raised in a call that nobody waits for any more. No Exception, so nobody tries again."""


class _Ties(Generic[T]):
    """What is between the thread and who takes its items."""

    def __init__(self, *, pauses: bool) -> None:
        # An item, or the exception that the iterator raised; the end has neither.
        self.inbox: Inbox[tuple[T | None, BaseException | None]]
        self.inbox = Inbox(pauses=pauses, soon=_SOON)
        self.put = self.taken = 0
        self.wakes_at: float = inf  # as many have to be taken until the thread is woken
        self.room: SimpleQueue[object] = SimpleQueue()  # wakes it
        self.waited_at = 0.0  # when the thread last waited for that, in seconds of its computing
        self.lock = threading.RLock()  # over what follows, and while the connection is cut
        self.cut: Callable[[], object] | None = None
        self._is_left = False
        self._taker: weakref.ref[Aside[T]] | None = None

    def belong_to(self, taker: Aside[T]) -> None:
        """Be left with the end of who takes the items, whose closing may have been broken off.

        All that runs then is C code: Python would swallow there what the handler of a signal
        raises.
        """
        self._taker = weakref.ref(taker, self.room.put)

    @property
    def has_left(self) -> bool:
        """Whether nobody takes the items any more."""
        return self._is_left or (self._taker is not None and self._taker() is None)

    def hand_on(self, item: T) -> None:
        """Put an item; block while too many wait, or if the thread has computed for long.

        It may hold up the other one in its place then: no two of them run Python at a time.
        """
        self.put += 1
        self.inbox.put((item, None))
        if thread_time() - self.waited_at > _COMPUTES:
            wakes_at = self.put
        elif self.put - self.taken >= AHEAD:
            wakes_at = self.put - AHEAD // 2
        else:
            return
        while self.taken < wakes_at and not self.has_left:
            self.wakes_at = wakes_at
            if self.taken < wakes_at:  # whoever takes one from here on may wake us
                self.room.get()
        self.waited_at = thread_time()

    def take(self, found: tuple[T | None, BaseException | None]) -> T | None:
        """Return the item of what was found, or raise the exception."""
        self.taken += 1
        if self.taken >= self.wakes_at:
            self.wakes_at = inf
            self.room.put(None)
        item, error = found
        try:
            if error is not None:
                raise error
            return item
        finally:
            del found, error  # the error's traceback holds this frame

    def leave(self) -> None:
        """Have the thread end, as soon as its call does."""
        self._is_left = True
        self.room.put(None)


_ties: ContextVar[_Ties[Any] | None] = ContextVar("miniagent_redis_aside", default=None)


class Aside(Generic[T]):
    """The items of a generator, read and closed by one thread with the first caller's context.

    ``check`` is called before a wait and whenever the bell rings that ``ring`` is given: what it
    raises ends the waiting. For one caller at a time; a forked child has no such thread. With
    ``pauses`` an item that is waited for yields them, else ``next`` blocks.
    """

    def __init__(
        self,
        items: Generator[T, None, None],
        ring: Callable[[Bell], object],
        check: Check,
        *,
        pauses: bool = False,
    ) -> None:
        self._items = items
        self._ring = ring
        self._check = check
        self._pauses = pauses
        self._ties: _Ties[T] | None = None
        self._is_waiting = False
        self._is_over = False
        self._pid = os.getpid()

    def next(self) -> Generator[Pause, None, T | None]:
        """Return the next item, None at the end; raise what the generator or ``check`` raises."""
        if self._is_over:
            return None
        ties = self._ties
        if ties is None or (found := ties.inbox.next_at_once()) is None:
            soonest = self._check()
            self._is_waiting = True
            if ties is None:
                ties = self._start()
            found = yield from ties.inbox.next(self._check, soonest)
            self._is_waiting = False
        self._is_over = found[0] is None
        try:
            return ties.take(found)
        finally:
            del found

    def close(self) -> None:
        """End the thread, which closes the generator; what that raises is logged there.

        If its call has a connection, that is cut. It is waited for, unless somebody who waited for
        an item went, or it takes longer than a moment.
        """
        if (ties := self._ties) is None or self._is_over or self._pid != os.getpid():
            return  # there is none; or it, and what it works on, are the parent's
        self._is_over = True
        with ties.lock:
            ties.leave()
            if ties.cut is not None:
                ties.cut()
        if self._is_waiting:
            ties.inbox.put(None)  # nobody is to go on pausing for it
            return
        until = monotonic() + _ENDS_WITHIN
        while (left := until - monotonic()) > 0:
            found = ties.inbox.wait(left)
            if found is not None and found[0] is None:
                return

    def _start(self) -> _Ties[T]:
        ties = self._ties = _Ties(pauses=self._pauses)
        ties.belong_to(self)
        self._ring(ties.inbox)
        context, items = copy_context(), self._items
        _threads.run(lambda: context.run(_read, ties, items))
        return ties


NAME = "miniagent-model"  # of the threads
_threads = IdleThreads(NAME)


def _read(ties: _Ties[T], items: Generator[T, None, None]) -> None:
    _ties.set(ties)
    ties.waited_at = thread_time()
    pid = os.getpid()
    end: tuple[None, BaseException | None] = None, None
    try:
        for item in items:
            if _is_forked(pid):
                return
            ties.hand_on(item)
            if ties.has_left:
                break
    except BaseException as exc:  # it is raised where the item is wanted
        end = None, exc
    if _is_forked(pid):
        return
    try:
        items.close()
    except BaseException:
        log.warning("what nobody waits for any more failed at its end", exc_info=True)
    ties.inbox.put(end)
    del end  # an error's traceback holds this frame


def _is_forked(pid: int) -> bool:
    """Whether this is a greenlet of the parent's, which gevent takes along into a child.

    A child that was forked in the iterator, and came back from it, has this thread alone: it ends.
    """
    if os.getpid() == pid:
        return False
    if threading.current_thread() is not threading.main_thread():
        return True
    log.error("a forked child ended a call of its parent, whose caller it does not have")
    os._exit(1)


def is_left() -> bool:
    """Whether this is a call of which nobody wants the result any more."""
    ties = _ties.get()
    return ties is not None and ties.has_left


def check_left() -> None:
    """Raise Left in a call of which nobody wants the result any more."""
    if is_left():
        raise Left


def cut_when_left(cut: Callable[[], object] | None) -> None:
    """Have ``cut`` called, in another thread, when whoever waits for this call leaves it.

    It takes the place of the one before, which is not under way any more when this returns; None
    is nothing to call. Raises Left if they have left already. Outside of such a call nothing is
    done.
    """
    if (ties := _ties.get()) is not None:
        with ties.lock:
            ties.cut = cut
        if cut is not None and ties.has_left:
            raise Left
