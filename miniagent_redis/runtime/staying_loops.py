"""Event loops that stay, for the async functions of programs that have none.

What such a function keeps between calls (an HTTP client, a connection, a lock) belongs to the loop
it was made in. So all of them run in one, in a daemon thread of the process: it starts with the
first, anew in a forked child, and ends with the program.

A function that blocks the loop with a whole turn would wait for ever for that turn's own async
functions. Those therefore run one level deeper, in another loop that stays. One that blocks for
longer than it is waited for loses the loop: others get a new one.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar, copy_context
from typing import Any, Generic, TypeVar

from attrs import frozen

from .forking import reset_after_fork
from .interrupts import Flag
from .recall import wait_for

T = TypeVar("T")

NAME = "miniagent-redis-async-tools"  # of the threads
_AT_THE_END = 0.4  # seconds that the program's end waits for loops to close, blocked ones too

_level: ContextVar[int] = ContextVar("miniagent_redis_level", default=0)


class LoopThread:
    """A loop and its thread."""

    def __init__(self, name: str = NAME) -> None:
        self._loop = asyncio.new_event_loop()
        self._calls: dict[int, Future[Any]] = {}  # that are not done; each change is one step
        self._is_ended = False
        self._answered = Flag()
        self._answered.set()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        try:
            self._thread.start()
        except BaseException:  # the system has no more threads
            self._loop.close()
            raise

    def _serve(self) -> None:
        # At the program's end no thread can be started, which closing the executor takes.
        with suppress(RuntimeError), asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            loop = runner.get_loop()
            while not self._is_ended:
                # SystemExit of a task comes through here too. It is the task's result as well,
                # and raised where that is awaited.
                with suppress(BaseException):
                    loop.run_forever()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin to run it, with a copy of this thread's context; raises RuntimeError if closed."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._calls[id(future)] = future
        future.add_done_callback(lambda done: self._calls.pop(id(done), None))
        return future

    def ask(self) -> None:
        """Have the loop say that it is not blocked."""
        self._answered.clear()
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._answered.set)

    def is_stuck(self, patience: float) -> bool:
        """Whether the loop has not answered when it was asked, nor does within ``patience``."""
        return not self._answered.wait(patience)

    def retire(self) -> None:
        """Let it end when it is free again, and those who wait for it have what they wait for."""
        asyncio.run_coroutine_threadsafe(self._retire(), self._loop)

    async def _retire(self) -> None:
        while calls := [asyncio.wrap_future(each) for each in self._calls.copy().values()]:
            await asyncio.gather(*calls, return_exceptions=True)
        self._stop()

    def _stop(self) -> None:
        self._is_ended = True
        self._loop.stop()

    def end(self) -> None:
        """Cancel what runs in the loop and close it. Waits for nothing."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop)

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for it to have ended."""
        self._thread.join(timeout)


@frozen
class StartedCall(Generic[T]):
    """A coroutine that runs in a loop that stays."""

    future: Future[T]
    _place: LoopThread

    def end(self) -> None:
        """Cancel it, unless it is done. Waits for nothing."""
        if self.future.cancel() or self.future.cancelled():
            self._place.ask()


class StayingLoops:
    """The loops of a process, by level: 0, and those of turns inside of async functions.

    A loop is stuck that does not answer within ``patience`` seconds after a call was given up.
    """

    def __init__(self, patience: float = 5.0) -> None:
        self._patience = patience
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over the places
        self._places: dict[int, LoopThread] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end with a copy of this thread's context variables; blocks until then.

        When the call is recalled, or this thread interrupted, it is cancelled. Raises what it
        raises, SystemExit and KeyboardInterrupt too, and RuntimeError without a thread to have.
        """
        call = self.start(coroutine)
        try:
            return wait_for(call.future)
        finally:
            call.end()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> StartedCall[T]:
        """Begin to run it in the same way; waits for nothing. Raises RuntimeError as ``run``."""
        level, context = _level.get(), copy_context()
        context.run(_level.set, level + 1)
        try:
            place = self._place_of(level)
            return StartedCall(context.run(place.start, coroutine), place)
        except BaseException:
            coroutine.close()
            raise

    def _place_of(self, level: int) -> LoopThread:
        found = self._places.get(level)
        if found is None or found.is_stuck(self._patience):
            with self._lock:
                if self._places.get(level) is found:  # nobody else has been here meanwhile
                    self._places[level] = LoopThread()
                    if found is not None:
                        found.retire()
                found = self._places[level]
        return found

    def end(self) -> None:
        """End them all; those who come later get new ones. Waits 0.4 s for what does not end."""
        places, self._places = self._places, {}
        for place in places.values():
            place.end()
        latest = time.monotonic() + _AT_THE_END
        for place in places.values():
            place.join(max(0.0, latest - time.monotonic()))


staying_loops: StayingLoops = StayingLoops()
atexit.register(staying_loops.end)
