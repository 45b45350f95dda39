"""What comes from elsewhere for one who waits for it, and may be called away meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Generic, TypeVar

from .interrupts import Flag
from .pausing import Pause

T = TypeVar("T")
Check = Callable[[], float | None]
"""Called while somebody waits: it may raise, and tells in how many seconds to call it, if soon."""
AHEAD = 64
"""Items that may wait to be taken; whoever reads an iterator for others goes no further then."""
_LOOK_AROUND = 0.5
"""Seconds after which a wait begins anew: a signal that comes just before it is seen behind it."""


class Inbox(Generic[T]):
    """Items in the order in which they were put, by whatever threads; taken by one.

    It is a bell too: None is no item, but has who waits look whether to go. Waiting blocks, or
    with ``pauses`` yields a Pause, so that an event loop may wait; not before it has blocked for
    ``soon`` seconds in all, as a pause costs more than to wait for what comes at once.
    """

    def __init__(self, *, pauses: bool = False, soon: float = 0.0) -> None:
        self._items: SimpleQueue[T | None] = SimpleQueue()
        self._flag = Flag() if pauses else None
        self._blocks_for = soon

    def put(self, item: T | None, /) -> None:
        """Add an item, or ring."""
        self._items.put(item)
        if self._flag is not None:
            self._flag.set()

    def next(self, check: Check, soonest: float | None = None) -> Generator[Pause, None, T]:
        """Return the next item; raises what ``check`` raises, which each ring has called.

        So has the end of the ``soonest`` seconds, if they are given, and of those that it returns.
        """
        while (item := (yield from self.next_or_bell(inf if soonest is None else soonest))) is None:
            soonest = check()
        return item

    def next_or_bell(
        self, seconds: float = inf, *, blocks: bool = False
    ) -> Generator[Pause, None, T | None]:
        """Return the next item; None for a ring, after so long, or to have who waits look around.

        With ``blocks`` it blocks even where it may pause.
        """
        if self._flag is None or blocks:
            return self.wait(seconds)
        self._flag.clear()
        with suppress(Empty):
            return self._next_soon() if self._blocks_for > 0 else self._items.get_nowait()
        yield Pause(self._flag, seconds)
        return self.next_at_once()  # what came before the bell is taken before it is heard

    def _next_soon(self) -> T | None:
        began = monotonic()
        try:
            return self._items.get(timeout=self._blocks_for)
        finally:
            self._blocks_for -= monotonic() - began

    def wait(self, seconds: float = inf) -> T | None:
        """Block for the next item; None as above."""
        with suppress(Empty):
            return self._items.get(timeout=max(0.0, min(seconds, _LOOK_AROUND)))
        return None

    def next_at_once(self) -> T | None:
        """Return the next item if it is there; else None."""
        try:
            return self._items.get_nowait()
        except Empty:
            return None
