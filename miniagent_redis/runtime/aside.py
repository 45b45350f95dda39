"""Calls in a thread of their own, so that whoever waits for them can go at any moment.

Python cannot interrupt a call that blocks: it goes on until it ends by itself, but nobody waits for
it, and what it gives is thrown away. One that has a connection can have it cut.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

from .inbox import Inbox
from .interrupts import Bell
from .kept_threads import KeptThreads
from .pausing import Pause

log: logging.Logger = logging.getLogger("miniagent_redis")
R = TypeVar("R")
_Result = tuple[Any, BaseException | None]


class Left(BaseException):
    """Raised in a call that nobody waits for any more. No Exception, so nobody tries again."""


class _Ties:
    """What is between the thread and who waits for it."""

    def __init__(self, results: Inbox[_Result]) -> None:
        self.calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()  # None: the end
        self.results = results
        self.lock = threading.RLock()  # over what follows, and while the connection is cut
        self.has_left = False
        self.cut: Callable[[], object] | None = None


_ties: ContextVar[_Ties | None] = ContextVar("miniagent_redis_aside", default=None)


class Aside:
    """Calls in one thread, from the first to ``end``, with a copy of the first caller's context.

    ``check`` is called before a call and whenever the bell rings that ``ring`` is given: what it
    raises ends the waiting. For one caller at a time; a forked child has no such thread. With
    ``pauses`` a call that is waited for yields them, else it blocks.
    """

    def __init__(
        self,
        ring: Callable[[Bell], object],
        check: Callable[[], object],
        *,
        pauses: bool = False,
    ) -> None:
        self._ring = ring
        self._check = check
        self._pauses = pauses
        self._ties: _Ties | None = None
        self._is_waiting = False
        self._pid = os.getpid()

    def call(self, work: Callable[[], R]) -> Generator[Pause, None, R]:
        """Return what ``work()`` returns in the thread, or raise what it or ``check`` raises."""
        self._check()
        self._is_waiting = True
        if (ties := self._ties) is None:
            ties = self._start(work)
        else:
            ties.calls.put(work)
        result = yield from ties.results.next(self._check)
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
            ties.results.put(None)  # nobody is to go on pausing for it
        if last is not None:
            ties.calls.put(last)
        ties.calls.put(None)
        self._ties = None
        if last is None or self._is_waiting:
            return
        _, error = ties.results.last()
        if error is not None:
            raise error

    def __del__(self) -> None:
        if (ties := getattr(self, "_ties", None)) is not None:
            ties.calls.put(None)  # `end` was broken off, or never called

    def _start(self, work: Callable[[], object]) -> _Ties:
        ties = self._ties = _Ties(Inbox(pauses=self._pauses))
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
