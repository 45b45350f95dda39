"""Calls in a thread of their own, so that whoever waits for them can go at any moment.

Python cannot interrupt a call that blocks: it goes on until it ends by itself, but nobody waits for
it, and what it gives is thrown away. One that has a connection can have it cut.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from .interrupts import Bell
from .kept_threads import KeptThreads

log: logging.Logger = logging.getLogger("miniagent_redis")
R = TypeVar("R")
_Result = tuple[Any, BaseException | None]
_LOOK_AROUND = 0.5
"""Seconds after which a wait begins anew: a signal that comes just before it is seen behind it."""


class Left(BaseException):
    """Raised in a call that nobody waits for any more. No Exception, so nobody tries again."""


class _Ties:
    """What is between the thread and who waits for it."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()  # None: the end
        self.results: SimpleQueue[_Result | None] = SimpleQueue()  # None: look whether to go
        self.lock = threading.RLock()  # over what follows, and while the connection is cut
        self.has_left = False
        self.cut: Callable[[], object] | None = None

    def next_result(self) -> _Result | None:
        """Wait for the next result, or for the bell, or for a while."""
        with suppress(Empty):
            return self.results.get(timeout=_LOOK_AROUND)
        return None


_ties: ContextVar[_Ties | None] = ContextVar("miniagent_redis_aside", default=None)


class Aside:
    """Calls in one thread, from the first to ``end``, with a copy of the first caller's context.

    ``check`` is called before a call and whenever the bell rings that ``ring`` is given: what it
    raises ends the waiting. For one caller at a time; a forked child has no such thread.
    """

    def __init__(self, ring: Callable[[Bell], object], check: Callable[[], object]) -> None:
        self._ring = ring
        self._check = check
        self._ties: _Ties | None = None
        self._is_waiting = False
        self._pid = os.getpid()

    def call(self, work: Callable[[], R]) -> R:
        """Return what ``work()`` returns in the thread, or raise what it or ``check`` raises."""
        self._check()
        self._is_waiting = True
        if (ties := self._ties) is None:
            ties = self._start(work)
        else:
            ties.calls.put(work)
        while (result := ties.next_result()) is None:
            self._check()
        self._is_waiting = False
        value, error = result
        try:
            if error is not None:
                raise error
            return value  # type: ignore[no-any-return]
        finally:
            del result, value, error  # the error's traceback holds this frame

    def end(self, last: Callable[[], object] | None = None) -> None:
        """End the thread, with ``last`` as its last call, if any; raise what that raises.

        If a call was left, its connection is cut and the rest is not waited for.
        """
        if (ties := self._ties) is None:
            if last is not None:
                last()
            return
        if self._pid != os.getpid():
            return  # the thread, and what it works on, are the parent's
        if self._is_waiting:
            with ties.lock:
                ties.has_left = True
                if ties.cut is not None:
                    ties.cut()
        if last is not None:
            ties.calls.put(last)
        ties.calls.put(None)
        self._ties = None
        if last is None or self._is_waiting:
            return
        while (result := ties.next_result()) is None:
            pass
        if result[1] is not None:
            raise result[1]

    def __del__(self) -> None:
        if (ties := getattr(self, "_ties", None)) is not None:
            ties.calls.put(None)  # `end` was broken off, or never called

    def _start(self, work: Callable[[], object]) -> _Ties:
        ties = self._ties = _Ties()
        ties.calls.put(work)
        self._ring(ties.results)
        context = copy_context()
        _threads.run(lambda: context.run(_work, ties))
        return ties


NAME = "miniagent-model"  # of the threads
_threads = KeptThreads(NAME)


def _work(ties: _Ties) -> None:
    _ties.set(ties)
    pid = os.getpid()
    while (call := ties.calls.get()) is not None:
        result: _Result
        try:
            result = call(), None
        except BaseException as exc:  # it is raised where the result is wanted
            result = None, exc
        if os.getpid() != pid:
            # A child was forked in the call, and came back from it. It has this thread alone.
            log.error("a forked child ended a call of its parent, whose caller it does not have")
            os._exit(1)
        ties.results.put(result)
        del call, result


def is_left() -> bool:
    """Whether this is a call of which nobody wants the result any more."""
    ties = _ties.get()
    return ties is not None and ties.has_left


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
