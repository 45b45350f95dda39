"""One tool call at work, in a thread or between two steps that an event loop waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import Any

from ..models import ToolCall, ToolResult
from ..runtime.inbox import Inbox
from ..runtime.recall import Recall
from ..tools import ToolRegistry
from ..tools.call import CallInSteps, run_steps
from ..tools.registry import StartsCoroutine
from .caching import Lookup

Finished = ToolResult | BaseException


class NotWanted(Exception):
    """A call that waits for somebody else's result was given up."""


class RunningCall:
    """One call: what it comes to is put into ``finished``, or the future that it waits for.

    For such a future ``go_on`` is to be called. ``starter`` begins to run a coroutine; without one
    a thread waits for it. After ``let_go`` nothing is put any more.
    """

    def __init__(
        self,
        call: ToolCall,
        timeout: float,
        deadline: float,
        finished: Inbox[tuple[RunningCall, Finished | Future[Any]]],
        starter: StartsCoroutine | None,
    ) -> None:
        self.call = call
        self.timeout = timeout
        self.deadline = deadline
        self.holds_thread: bool = False
        self._finished = finished
        self._starter = starter
        self._is_wanted = True
        self._lookup: Lookup | None = None  # for whose result others may wait
        self._recall = Recall()
        self._context = copy_context()
        self._context.run(self._recall.hear)

    def start(self, steps: CallInSteps, tools: ToolRegistry, *, at_once: bool) -> None:
        """Begin: ``at_once`` if it comes to a coroutine soon, else in a thread."""
        self._steps = steps
        if self._starter is not None and at_once:
            self._go(partial(next, steps))
            return
        self.holds_thread = True
        work: Callable[[], None] = partial(self._go, partial(next, steps))
        if self._starter is None:
            work = partial(self._go, partial(run_steps, steps, tools))
        threading.Thread(target=work, name=f"miniagent-tool-{self.call.name}", daemon=True).start()

    def go_on(self, awaited: Future[Any]) -> None:
        """Do the next step: what it waited for is done."""
        try:
            value = awaited.result()
        except BaseException as exc:
            self._go(partial(self._steps.throw, exc))
        else:
            self._go(partial(self._steps.send, value))

    def check(self) -> None:
        """Raise NotWanted once it was let go."""
        if not self._is_wanted:
            raise NotWanted

    def hold(self, lookup: Lookup) -> None:
        """Have the lookup end with the call."""
        self._lookup = lookup

    def let_go(self) -> None:
        """Wait for nothing of it any more, nor let others wait for it."""
        self._is_wanted = False
        self._recall.make()
        if (lookup := self._lookup) is not None:
            lookup.end()

    def _go(self, step: Callable[[], ToolResult | Coroutine[Any, Any, Any]]) -> None:
        """Do a step in the call's context; put what it comes to."""
        finished: Finished
        try:
            found = self._context.run(step)
            if not isinstance(found, ToolResult):
                self._await(found)
                return
            finished = found
        except NotWanted:
            return
        except StopIteration as end:
            finished = end.value
        except BaseException as exc:
            finished = exc
        self._lookup = None
        self._finished.put((self, finished))

    def _await(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Let a loop run the coroutine; no thread is held meanwhile."""
        assert self._starter is not None  # else ``run_steps`` has awaited it
        try:
            future = self._context.run(self._starter, coroutine)
        except RuntimeError as exc:  # the loop is closed
            future = Future()
            future.set_exception(exc)
        self._recall.covers(future)
        if self.holds_thread:
            self.holds_thread = False
            self._finished.put(None)  # who waits may pause now
        future.add_done_callback(self._is_done)

    def _is_done(self, future: Future[Any]) -> None:
        if self._is_wanted:
            self._finished.put((self, future))
        else:
            self._steps.close()
