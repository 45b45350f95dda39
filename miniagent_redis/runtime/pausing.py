"""Generators that say when they would wait, so that a thread and an event loop each wait their way.

They yield a ``Pause`` in between what they are asked for, and do short work only from one step to
the next. In an event loop a pause holds no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from math import inf
from typing import TypeVar, cast

from attrs import frozen

from .cancellation import is_called_for_a_task, raise_if_cancelled
from .clock import Clock
from .interrupts import Flag

T = TypeVar("T")
R = TypeVar("R")
OPEN: AbstractContextManager[object] = nullcontext()
"""A gate that holds nobody up."""
_LOOK_AROUND = 0.25
"""Seconds between looks at whether the task that a thread waits for was cancelled."""
_LOOK_AT_THE_CLOCK = 1.0
"""Seconds between looks of a task at its clock, which may be one that is moved by hand."""


@frozen
class Pause:
    """Go on when the flag is set, or after so many seconds."""

    flag: Flag
    seconds: float


Steps = Generator[T | Pause, None, None]


def without_pauses(steps: Generator[T | Pause, None, R]) -> Generator[T, None, R]:
    """Return the steps as what they are: they were told to block where others pause."""
    return cast(Generator[T, None, R], steps)


def at_once(steps: Generator[Pause, None, R]) -> R:
    """Return what steps come to that block where others pause: they were told to."""
    try:
        raise RuntimeError(f"{next(steps)} in the middle of what was to block")
    except StopIteration as end:
        result: R = end.value
        return result


def run_in_thread(
    steps: Steps[T], clock: Clock, gate: AbstractContextManager[object] = OPEN
) -> Iterator[T]:
    """Yield what the generator yields, and block at its pauses. The gate is held for each step."""
    with closing(steps):
        while True:
            try:
                with gate:
                    step = next(steps)
            except StopIteration:
                return
            if isinstance(step, Pause):
                wait_in_thread(step, clock)
            else:
                yield step


def wait_in_thread(pause: Pause, clock: Clock) -> None:
    """Block. Raises CancelledError if this is done for a task that is cancelled."""
    if not is_called_for_a_task():
        clock.wait(pause.flag, pause.seconds)
        return
    end = clock.monotonic() + pause.seconds
    while (left := end - clock.monotonic()) > 0:
        raise_if_cancelled()
        if clock.wait(pause.flag, min(left, _LOOK_AROUND)):
            return


async def wait_in_loop(pause: Pause, clock: Clock) -> None:
    """Wait in the running event loop."""
    bell = _LoopBell()
    pause.flag.ring(bell)
    end = clock.monotonic() + pause.seconds
    while not pause.flag.is_set() and (left := end - clock.monotonic()) > 0:
        longest = None if left == inf else min(left, _LOOK_AT_THE_CLOCK)
        with suppress(TimeoutError):
            async with asyncio.timeout(longest):
                await bell.has_rung.wait()


class _LoopBell:
    """Wakes a task once, from any thread."""

    def __init__(self) -> None:
        self.has_rung = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._is_rung = False

    def put(self, item: None, /) -> None:
        if self._is_rung:
            return
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(self.has_rung.set)
        self._is_rung = True
