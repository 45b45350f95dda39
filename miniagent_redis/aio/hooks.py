"""Callbacks and tools that may be async functions: they run in the caller's event loop."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from functools import wraps
from typing import Any, TypeVar

from ..agent import Callback
from ..agent import StreamCallback as _StreamCallback
from ..models import Event
from ..runtime.cancellation import caller_to_run_for, run_coroutine
from ..tools import ToolRegistry as _ToolRegistry
from ..tools.registry import StartsCoroutine

T = TypeVar("T")


class StreamCallback(_StreamCallback):
    """Callbacks by event type, called in the order of their registration; async ones are awaited.

    >>> callbacks = StreamCallback()
    >>> @callbacks.on(EventType.TEXT_DELTA)
    ... async def show(event: Event) -> None:
    ...     await websocket.send(event.text)

    The turn goes on when they are done, so events arrive in order and a slow callback slows the
    turn down. One that raises is logged and counted in ``errors``. Plain functions are called in
    the turn's thread: use ``async def`` for what touches the event loop.
    """

    def _adapt(self, function: Callback) -> Callback:
        return super()._adapt(_awaited(function) if callable(function) else function)


class ToolRegistry(_ToolRegistry):
    """Tools by name; async ones run in the event loop of the task whose turn it is.

    So they can use its clients and connections. Plain functions run in a thread of their own. The
    registry of the sync API has async tools run in a loop of its own, here too.
    """

    def run_coroutine(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return run_coroutine(coroutine)

    def starter(self) -> StartsCoroutine | None:
        if type(self).run_coroutine is not ToolRegistry.run_coroutine:
            return None  # a subclass has another loop
        caller = caller_to_run_for()
        return None if caller is None else caller.start


def _awaited(function: Callback) -> Callback:
    @wraps(function)
    def call(event: Event) -> None:
        result = function(event)
        if inspect.iscoroutine(result):
            run_coroutine(result)

    return call
