"""Items of an async iterator for code that is not async: a task of an event loop reads them.

The loop is that of the task for which the code runs (``aio``), or else the one that stays. All of
one iterator is read by one task, as its timeouts and context variables take for granted. It reads
some items ahead, so that those that come together cost one change of threads.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from .cancellation import caller_to_run_for
from .inbox import AHEAD, Check, Inbox
from .interrupts import Bell
from .pausing import Pause
from .staying_loops import staying_loops

log: logging.Logger = logging.getLogger("miniagent_redis")
T = TypeVar("T")
Items = Callable[[], AsyncIterator[T]]


class FromLoop(Generic[T]):
    """The items that ``start()`` gives, one by one, until ``end``.

    ``check`` is called before a wait and whenever the bell rings that ``ring`` is given: what it
    raises ends the waiting. With ``pauses`` that is yielded, else it blocks. For one caller.
    """

    def __init__(
        self,
        start: Items[T],
        ring: Callable[[Bell], object],
        check: Check,
        *,
        pauses: bool = False,
    ) -> None:
        self._start = start
        self._ring = ring
        self._check = check
        self._inbox: Inbox[tuple[T | None, BaseException | None]] = Inbox(pauses=pauses)
        self._cancel: Callable[[], object] | None = None
        self._room: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._put = self._taken = 0
        self._is_left = False
        self._pid = os.getpid()

    def next(self) -> Generator[Pause, None, tuple[T | None, BaseException | None]]:
        """Return the next item, or the exception that the iterator raised; the end has neither."""
        soonest = self._check()
        if self._cancel is None:
            self._ring(self._inbox)
            self._cancel = _start_in_loop(self._read())
        found = yield from self._inbox.next(self._check, soonest)
        self._taken += 1
        if (room := self._room) is not None:
            with suppress(RuntimeError):  # the loop is closed
                room[0].call_soon_threadsafe(room[1].set)
        return found

    def end(self) -> None:
        """Cancel the task, if it runs. Waits for nothing."""
        if self._pid != os.getpid():
            return  # the loop is the parent's
        self._is_left = True
        if self._cancel is not None:
            self._cancel()
        self._inbox.put(None)  # nobody is to go on pausing for it

    async def _read(self) -> None:
        end: tuple[None, BaseException | None] = None, None
        try:
            items = self._start()
            try:
                async for item in items:
                    self._put += 1
                    self._inbox.put((item, None))
                    if self._put - self._taken >= AHEAD:
                        await self._wait_for_room()
            finally:
                if (close := getattr(items, "aclose", None)) is not None:
                    await close()
        except asyncio.CancelledError:
            if self._is_left:
                raise
            end = None, RuntimeError("the task that read it was cancelled")
        except BaseException as exc:  # it is raised where the item is wanted
            if self._is_left:
                log.warning("what nobody waits for any more failed at its end", exc_info=True)
            end = None, exc
        self._inbox.put(end)
        del end  # an error's traceback holds this frame

    async def _wait_for_room(self) -> None:
        has_room = asyncio.Event()
        self._room = asyncio.get_running_loop(), has_room
        while self._put - self._taken >= AHEAD:
            has_room.clear()
            if self._put - self._taken >= AHEAD:  # whoever takes one from here on sets it
                await has_room.wait()
        self._room = None


def _start_in_loop(coroutine: Coroutine[Any, Any, object]) -> Callable[[], object]:
    """Begin to run it; return what cancels it."""
    if (caller := caller_to_run_for()) is not None:
        return caller.start(coroutine).cancel
    return staying_loops.start(coroutine).end
