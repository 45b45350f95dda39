"""Async methods, iterators and tasks made of blocking methods, with their exact types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import partial, wraps
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from .cancellation import Caller, is_called_for_a_task
from .clock import Clock
from .pausing import Pause, Steps, wait_in_loop
from .threads import Pool

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound="Facade")
Kind = Literal["calls", "turns", "waits"]

_END: Any = object()


class Threads:
    """The threads of one store, so divided that no call stands in line behind what waits for it.

    ``calls`` are short Redis commands; ``turns`` may take minutes. ``waits`` wait for others (a
    lock, a message, the end of a turn) and have a thread each, and so has a turn inside a turn,
    as an async tool may run it.
    """

    def __init__(self) -> None:
        self._pools: dict[Kind, Pool] = {
            "calls": Pool("miniagent-redis-aio-call", 16),
            "turns": Pool("miniagent-redis-aio-turn", 32),
            "waits": Pool("miniagent-redis-aio-wait", float("inf")),
        }

    def pool(self, kind: Kind) -> Pool:
        """Return the pool for a call of that kind by the code that asks."""
        nested = kind == "turns" and is_called_for_a_task()
        return self._pools["waits" if nested else kind]

    def close(self) -> None:
        """Let all threads end once they have done what they do. Waits for nothing."""
        for pool in self._pools.values():
            pool.close()


class Facade(Protocol):
    """An object with async methods in front of the blocking one that does the work."""

    @property
    def sync(self) -> Any: ...
    @property
    def _threads(self) -> Threads: ...


def mirrors(
    method: Callable[Concatenate[Any, P], R],
    on: Kind = "calls",
    undo: Callable[..., object] | None = None,
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], Coroutine[Any, Any, R]]]:
    """Put in the place of an empty method an async one, with what ``method`` takes and returns.

    It runs ``method`` on the facade's ``sync`` object in a thread of the kind ``on``. What a
    cancelled call obtained all the same goes to ``undo(sync, result, *args, **kwargs)``.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., Coroutine[Any, Any, R]]:
        @wraps(method)
        async def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
            def work() -> R:
                return method(self.sync, *args, **kwargs)

            def give_back(result: R) -> None:
                if undo is not None:
                    undo(self.sync, result, *args, **kwargs)

            return await Caller().run(self._threads.pool(on), work, undo and give_back)

        _rename(mirrored, stub)
        return mirrored

    return decorate


def mirrors_task(
    method: Callable[Concatenate[Any, P], Future[R]], run: Callable[Concatenate[Any, P], R]
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], asyncio.Task[R]]]:
    """Put in the place of an empty method one that starts a turn, as ``run`` does, in a task.

    ``method`` is its blocking twin. Cancelling the task cancels the turn.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., asyncio.Task[R]]:
        @wraps(method)
        def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> asyncio.Task[R]:
            work = partial(run, self.sync, *args, **kwargs)
            task = asyncio.create_task(Caller().run(self._threads.pool("turns"), work))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
            return task

        _rename(mirrored, stub)
        return mirrored

    return decorate


_tasks: set[asyncio.Task[Any]] = set()  # the event loop itself would let a running task go


def mirrors_iterator(
    method: Callable[Concatenate[Any, P], Iterator[T]], on: Kind
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], AsyncGenerator[T, None]]]:
    """Put in the place of an empty method one that returns an async iterator over a generator's.

    Each step runs in a thread of the kind ``on``. Closing the iterator, cancelling the task or
    dropping it closes the generator.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., AsyncGenerator[T, None]]:
        @wraps(method)
        def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            return _iterate(self._threads, on, partial(method, self.sync, *args, **kwargs))

        _rename(mirrored, stub)
        return mirrored

    return decorate


def mirrors_steps(
    method: Callable[Concatenate[Any, P], Iterator[T]],
    start: Callable[..., tuple[Steps[T], Clock]],
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], AsyncGenerator[T, None]]]:
    """Put in the place of an empty method one that returns an async iterator as of ``method``.

    ``start(sync, …)`` takes what ``method`` does and returns the same in steps, and the clock that
    they go by. Each step is a short call, and while they pause no thread is held.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., AsyncGenerator[T, None]]:
        @wraps(method)
        def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            return _take_steps(self._threads.pool("calls"), *start(self.sync, *args, **kwargs))

        _rename(mirrored, stub)
        return mirrored

    return decorate


async def _take_steps(pool: Pool, steps: Steps[T], clock: Clock) -> AsyncGenerator[T, None]:
    caller = Caller()
    try:
        step: Any
        while (step := await caller.run(pool, partial(next, steps, _END))) is not _END:
            if isinstance(step, Pause):
                await wait_in_loop(step, clock)
            else:
                yield step
    finally:
        await caller.run(pool, steps.close, surely=True)


def _rename(mirrored: Any, stub: Any) -> None:
    mirrored.__module__, mirrored.__qualname__ = stub.__module__, stub.__qualname__


async def _iterate(
    threads: Threads, on: Kind, start: Callable[[], Iterator[T]]
) -> AsyncGenerator[T, None]:
    pool = threads.pool(on)
    caller = Caller()  # one for all steps: a generator may rely on its context variables
    iterator = start()
    try:
        while (item := await caller.run(pool, partial(next, iterator, _END))) is not _END:
            yield item
    except BaseException:
        if close := getattr(iterator, "close", None):
            # Not in the pool, where it might stand in line behind turns that take minutes.
            await caller.run(threads.pool("waits"), close, surely=True)
        raise
