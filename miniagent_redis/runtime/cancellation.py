"""Running blocking code in a thread on behalf of an asyncio task, cancellation included."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from copy import copy
from functools import partial
from typing import Any, Generic, TypeVar

from .interrupts import Bell, Flag
from .recall import wait_for
from .threads import Pool

R = TypeVar("R")
T = TypeVar("T")

log: logging.Logger = logging.getLogger("miniagent_redis")
_NOTHING: Any = object()


class _Job(Generic[R]):
    """One call of blocking code: run in a thread, waited for in an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], R]) -> None:
        self._loop = loop
        self._work = work
        self._claim = threading.Lock()  # never waited for: who runs or withdraws it
        self._waiter: asyncio.Future[None] | None = None
        self.is_done = False
        self.value: R = _NOTHING
        self.error: BaseException | None = None

    def __call__(self) -> None:
        if not self.withdraw():
            return
        try:
            self.value = self._work()
        except BaseException as exc:
            self.error = exc
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            self._loop.call_soon_threadsafe(self._finish)

    def withdraw(self) -> bool:
        """Keep the job from being run; return False if it has begun."""
        return self._claim.acquire(blocking=False)

    def _finish(self) -> None:
        self.is_done = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        self._waiter = self._loop.create_future()
        await self._waiter


class Caller:
    """The task that now calls blocking code: its event loop, its context variables, its leaving."""

    def __init__(self) -> None:
        self.left: Flag = Flag()
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._context.run(_caller.set, self)
        self._lock = threading.RLock()  # over the futures
        self._futures: set[concurrent.futures.Future[Any]] = set()

    async def run(
        self,
        pool: Pool,
        work: Callable[[], R],
        undo: Callable[[R], object] | None = None,
        *,
        surely: bool = False,
    ) -> R:
        """Return what ``work()`` returns in a thread of the pool.

        When the task is cancelled, work that has not begun is not done, unless ``surely``. Other
        work is told (``raise_if_cancelled``) and waited for, so that nothing goes on behind the
        caller's back; if it succeeded all the same, ``undo`` is called with the result. Then
        CancelledError is raised.
        """
        job = _Job(self._loop, partial(self._context.run, work))
        pool.submit(job)
        cancelled: asyncio.CancelledError | None = None
        while not job.is_done:
            try:
                await job.wait()
            except asyncio.CancelledError as exc:
                if not surely and job.withdraw():
                    raise
                cancelled = cancelled or exc
                self.leave()
        try:
            if cancelled is not None:
                if undo is not None and job.error is None:
                    await self._undo(pool, partial(undo, job.value))
                raise cancelled from job.error
            if job.error is not None:
                raise job.error
            return job.value
        finally:
            del job, cancelled  # they hold the traceback that holds this frame

    async def _undo(self, pool: Pool, undo: Callable[[], object]) -> None:
        try:
            await self.run(pool, undo, surely=True)
        except Exception as exc:
            log.warning("what a cancelled call had obtained could not be given back: %s", exc)

    def leave(self) -> None:
        """Tell what runs for the task that this one was cancelled."""
        with self._lock:
            self.left.set()
            futures = tuple(self._futures)
        for future in futures:
            future.cancel()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin to run it in the task's event loop, with a copy of this thread's context."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            raise

    def apart(self) -> Caller:
        """Return a caller with the same event loop who stays when this one's task is cancelled."""
        twin = copy(self)
        twin.left, twin._lock, twin._futures = Flag(), threading.RLock(), set()
        return twin

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the task's event loop; return its result. For threads, which are blocked.

        Raises concurrent.futures.CancelledError when the task is cancelled, or this call recalled.
        """
        with self._lock:  # all of it: the loop may have run a part before we go on here
            future = self.start(coroutine)
            self._futures.add(future)
        try:
            return wait_for(future)
        finally:
            with self._lock:
                self._futures.discard(future)


_caller: ContextVar[Caller | None] = ContextVar("miniagent_redis_caller", default=None)


def caller_to_run_for() -> Caller | None:
    """Return the caller in whose event loop the code of this thread may wait for coroutines.

    None outside of asyncio programs, and in a thread that an event loop stands still for.
    """
    caller = _caller.get()
    return None if caller is None or _is_in_a_loop() else caller


def context_that_stays() -> Context:
    """Return a copy of the context, for work that goes on when the task is cancelled that asks."""
    context = copy_context()
    if (caller := _caller.get()) is not None:
        context.run(_caller.set, caller.apart())
    return context


def is_called_for_a_task() -> bool:
    """Whether this code, async or not, runs inside a call of blocking code for a task."""
    return _caller.get() is not None


def raise_if_cancelled() -> None:
    """Raise asyncio.CancelledError if this runs on behalf of a task that has been cancelled.

    For loops that wait for something. Outside of asyncio programs it does nothing.
    """
    caller = _caller.get()
    if caller is not None and caller.left.is_set():
        raise asyncio.CancelledError("the task that waits for this was cancelled")


def ring_when_cancelled(bell: Bell) -> None:
    """Put None to the bell when the task is cancelled on whose behalf this runs, if there is one.

    The bell is held weakly.
    """
    if (caller := _caller.get()) is not None:
        caller.left.ring(bell)


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a user's async function from a thread: in the loop of the task it works for, if any.

    Else in a loop of its own; and in a thread of its own where this one is in a loop already, as
    each cell of a notebook is. That loop stands still meanwhile, as with every blocking call.
    """
    caller = _caller.get()
    if caller is not None:
        return caller.run_coroutine(coroutine)
    if not _is_in_a_loop():
        return asyncio.run(coroutine)
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    work = coroutine, done, copy_context()
    threading.Thread(
        target=_run_apart, args=work, name="miniagent-redis-async", daemon=True
    ).start()
    return done.result()


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_apart(
    coroutine: Coroutine[Any, Any, T], done: concurrent.futures.Future[T], context: Context
) -> None:
    try:
        done.set_result(context.run(asyncio.run, coroutine))
    except BaseException as exc:  # it is raised where the result is wanted
        done.set_exception(exc)
