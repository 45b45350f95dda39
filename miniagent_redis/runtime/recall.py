"""Giving up a call that runs in another thread: coroutines that it waits for are cancelled.

A thread cannot be stopped, but what it waits for in an event loop can.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class Recall:
    """The recall of one call, which its thread obeys from ``hear`` on. Safe for threads."""

    def __init__(self) -> None:
        self.is_made: bool = False
        self._awaited: dict[int, Future[Any]] = {}  # each change is one step

    def hear(self) -> None:
        """Let the coroutines end with this recall that the current context waits for."""
        _recall.set(self)

    def make(self) -> None:
        """Cancel what is waited for, and whatever will be. Waits for nothing."""
        self.is_made = True
        for future in self._awaited.copy().values():
            future.cancel()

    def covers(self, future: Future[Any]) -> None:
        """Have the recall end what the future stands for, if it is not done by then."""
        self._awaited[id(future)] = future
        if self.is_made:
            future.cancel()

    def wait(self, future: Future[T]) -> T:
        """Return the result; raises CancelledError of ``concurrent.futures`` once recalled."""
        try:
            self.covers(future)
            return future.result()
        finally:
            self._awaited.pop(id(future), None)


_recall: ContextVar[Recall | None] = ContextVar("miniagent_redis_recall", default=None)


def wait_for(future: Future[T]) -> T:
    """Return the result of a coroutine in another thread's loop, unless this call is recalled."""
    recall = _recall.get()
    return future.result() if recall is None else recall.wait(future)
