"""Async methods, iterators and tasks made of blocking methods, with their exact types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from copy import copy
from functools import partial, wraps
from inspect import GEN_SUSPENDED, getgeneratorstate
from math import inf
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar

from attrs import frozen

from .cancellation import Caller, is_called_for_a_task
from .clock import Clock
from .pausing import Pause, wait_in_loop
from .threads import Pool

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
S = TypeVar("S", bound="Facade")
K = TypeVar("K", bound=asyncio.Task[Any])
Kind = Literal["calls", "turns", "waits"]

StartsTurn = Callable[..., tuple[Generator[Pause, None, R], Clock]]
CALLS = 16
TURNS = 32
_END: Any = object()


class Threads:
    """The threads of one store, so divided that no call stands in line behind what waits for it.

    ``calls`` are short Redis commands; ``turns`` may take minutes. ``waits`` wait for others (a
    lock, a message, the end of a turn) and have a thread each, and so has a turn inside a turn,
    as an async tool may run it.
    """

    def __init__(self, calls: int = CALLS, turns: int = TURNS) -> None:
        self._pools: dict[Kind, Pool] = {
            "calls": Pool("miniagent-redis-aio-call", calls),
            "turns": Pool("miniagent-redis-aio-turn", turns),
            "waits": Pool("miniagent-redis-aio-wait", inf),
        }

    def with_turns(self, turns: int) -> Threads:
        """Return the same threads, but others for turns: those of one agent."""
        twin = copy(self)
        twin._pools = {**self._pools, "turns": Threads(turns=turns)._pools["turns"]}
        return twin

    def pool(self, kind: Kind) -> Pool:
        """Return the pool for a call of that kind by the code that asks."""
        nested = kind == "turns" and is_called_for_a_task()
        return self._pools["waits" if nested else kind]

    def end_turns(self) -> None:
        """Let those for turns end once they have done what they do. Waits for nothing."""
        self._pools["turns"].close()

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


def mirrors_turn(
    method: Callable[Concatenate[Any, P], R], start: StartsTurn[R]
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], Coroutine[Any, Any, R]]]:
    """Put in the place of an empty method an async one that runs a turn as ``method`` does.

    ``start(sync, …)`` takes what ``method`` does and returns the turn, whose pauses hold no thread,
    and the clock that it goes by.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., Coroutine[Any, Any, R]]:
        @wraps(method)
        async def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
            return await _come_to_the_end(self._threads, *start(self.sync, *args, **kwargs))

        _rename(mirrored, stub)
        return mirrored

    return decorate


def mirrors_task(
    method: Callable[Concatenate[Any, P], Future[R]],
    start: Callable[
        ..., tuple[Callable[[Coroutine[Any, Any, R]], K], Generator[Pause, None, R], Clock]
    ],
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], K]]:
    """Put in the place of an empty method one that starts a turn, as ``mirrors_turn``, in a task.

    ``method`` is its blocking twin. ``start`` returns first what makes the task of a coroutine.
    Cancelling the task cancels the turn.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., K]:
        @wraps(method)
        def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> K:
            make, steps, clock = start(self.sync, *args, **kwargs)
            task = make(_come_to_the_end(self._threads, steps, clock))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
            return task

        _rename(mirrored, stub)
        return mirrored

    return decorate


_tasks: set[asyncio.Task[Any]] = set()  # the event loop itself would let a running task go


def mirrors_steps(
    method: Callable[Concatenate[Any, P], Iterator[T]],
    start: Callable[..., tuple[Generator[T | Pause, None, Any], Clock]],
    on: Kind = "calls",
) -> Callable[[Callable[[S], object]], Callable[Concatenate[S, P], AsyncGenerator[T, None]]]:
    """Put in the place of an empty method one that returns an async iterator as of ``method``.

    ``start(sync, …)`` takes what ``method`` does and returns the same in steps, and the clock that
    they go by. Each step runs in a thread of the kind ``on``, and while they pause none is held.
    Closing the iterator, cancelling the task or dropping it closes the generator.
    """

    def decorate(stub: Callable[[S], object]) -> Callable[..., AsyncGenerator[T, None]]:
        @wraps(method)
        def mirrored(self: S, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
            return _iterate(self._threads, on, *start(self.sync, *args, **kwargs))

        _rename(mirrored, stub)
        return mirrored

    return decorate


def _rename(mirrored: Any, stub: Any) -> None:
    mirrored.__module__, mirrored.__qualname__ = stub.__module__, stub.__qualname__


async def _iterate(
    threads: Threads, on: Kind, steps: Generator[T | Pause, None, Any], clock: Clock
) -> AsyncGenerator[T, None]:
    pool = threads.pool(on)
    caller = Caller()  # one for all steps: a generator may rely on its context variables
    try:
        step: Any
        while (step := await caller.run(pool, partial(next, steps, _END))) is not _END:
            if isinstance(step, Pause):
                await wait_in_loop(step, clock)
            else:
                yield step
    except BaseException as exc:
        await _give_up(caller, threads, steps, exc, may_go_on=on == "turns")
        raise


async def _come_to_the_end(threads: Threads, steps: Generator[Pause, None, R], clock: Clock) -> R:
    """Return what the steps of a turn come to, each in a thread."""
    pool = threads.pool("turns")
    caller = Caller()
    try:
        while isinstance(step := await caller.run(pool, partial(_next, steps)), Pause):
            await wait_in_loop(step, clock)
        return step.value
    except asyncio.CancelledError as exc:
        await _give_up(caller, threads, steps, exc, may_go_on=True)
        raise


@frozen
class _End(Generic[R]):
    value: R


def _next(steps: Generator[Pause, None, R]) -> Pause | _End[R]:
    try:
        return next(steps)
    except StopIteration as end:
        return _End(end.value)


async def _give_up(
    caller: Caller,
    threads: Threads,
    steps: Generator[Any, None, Any],
    why: BaseException,
    *,
    may_go_on: bool,
) -> None:
    """Close the steps. A turn whose task was cancelled goes on until it meets that itself."""
    if getgeneratorstate(steps) != GEN_SUSPENDED:
        steps.close()
        return
    goes_on = may_go_on and isinstance(why, asyncio.CancelledError)
    if goes_on:
        caller.leave()
    try:
        # Not in the pool, where it might stand in line behind turns that take minutes.
        await caller.run(threads.pool("waits"), partial(_end, steps, goes_on), surely=True)
    except Exception as exc:
        raise why from exc


def _end(steps: Generator[Any, None, Any], goes_on: bool) -> None:
    with closing(steps), suppress(StopIteration, asyncio.CancelledError):
        while goes_on and not isinstance(next(steps), Pause):
            pass
