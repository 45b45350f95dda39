"""Turns that run in threads of the agent's own, and what to do about them at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from typing import Any, TypeVar

from ..models import TurnResult
from ..runtime.cancellation import context_that_stays
from ..runtime.clock import Clock
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import WeakRegistry
from ..runtime.own_loop import OwnLoop
from ..runtime.pausing import Pause, wait_in_loop
from ..runtime.threads import Pool

T = TypeVar("T")
_pauses: OwnLoop = OwnLoop("miniagent-redis-pauses")


class Submitted(Future[TurnResult]):
    """A turn that was submitted: the future has its result, or its error.

    ``turn_id`` is its id, and ``cursor`` the place in front of its first event, as far as it is
    known: ``watch(session_id, after=cursor)`` sees the whole turn.
    """

    def __init__(self, turn_id: str, cursor: str = "") -> None:
        super().__init__()
        self.turn_id: str = turn_id
        self.cursor: str = cursor


class SubmittedTurns:
    """Runs turns in daemon threads: one that hangs cannot hold up the end of the program.

    Safe for threads. A forked child starts with none.
    """

    def __init__(self, threads: int) -> None:
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        """What all that the pool does is done in, such as the context of a web application."""
        self._pool = Pool("miniagent-redis-turn", threads)
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._futures: WeakRegistry[Future[Any]] = WeakRegistry()  # the jobs hold them

    def run(
        self,
        future: Future[T],
        run: Callable[[], T],
        drop: Callable[[], object] = lambda: None,
        context: Context | None = None,
    ) -> None:
        """Run it as soon as one of the threads is free; ``drop`` if it was cancelled by then.

        In a copy of the caller's context, or in the ``context``.
        """
        self._futures.add(future)
        context = context or context_that_stays()

        def work() -> T:
            with self.around():
                return run()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(context.run(work))
                except BaseException as exc:
                    future.set_exception(exc)
            else:
                drop()
            self._futures.discard(future)

        self._pool.submit(job)

    def run_in_steps(
        self,
        future: Future[T],
        steps: Generator[Pause, None, T],
        clock: Clock,
        drop: Callable[[], object],
    ) -> None:
        """Do the same with steps that pause: meanwhile they hold none of the threads."""
        self._futures.add(future)
        context = context_that_stays()

        def step() -> Pause | None:
            try:
                with self.around():
                    return next(steps)
            except StopIteration as end:
                future.set_result(end.value)
            return None

        async def go_on_after(pause: Pause) -> None:
            try:
                await wait_in_loop(pause, clock)
                self._pool.submit(job)
            except BaseException as exc:  # there is no thread to be had
                end(exc)

        def job() -> None:
            if not (future.running() or future.set_running_or_notify_cancel()):
                drop()
            else:
                try:
                    if (pause := context.run(step)) is not None:
                        _pauses.start(go_on_after(pause))
                        return
                except BaseException as exc:
                    return end(exc)
            self._futures.discard(future)

        def end(error: BaseException) -> None:
            try:
                context.run(steps.close)
            except BaseException as exc:  # its context is the other one
                error = exc
            future.set_exception(error)
            self._futures.discard(future)

        self._pool.submit(job)

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._futures)

    def finish(self, timeout: float) -> bool:
        """Wait for all of them; cancel what has not begun by then. Return whether all ended."""
        late = wait(list(self._futures), timeout).not_done
        for future in late:
            if not future.cancel():  # one that pauses may need a thread to end, which ends then too
                future.add_done_callback(lambda done: self._pool.close())
        self._pool.close()
        return not late
