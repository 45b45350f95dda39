"""Functions to be called as things happen in a turn. They watch; they cannot break it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, TypeVar, overload

from ..errors import InvalidInput
from ..models import Event, EventType
from ..runtime.forking import reset_after_fork

Callback = Callable[[Event], Any]
C = TypeVar("C", bound=Callback)
_logger = logging.getLogger(__name__)


class StreamCallback:
    """Callbacks by event type, called in the order of their registration.

    >>> callbacks = StreamCallback()
    >>> @callbacks.on(EventType.TEXT_DELTA)
    ... def show(event: Event) -> None:
    ...     print(event.text, end="")

    They run in the turn's own thread, so a slow one slows the turn down. One that raises is
    logged and counted in ``errors``; the turn goes on.
    """

    def __init__(self) -> None:
        self._callbacks: list[tuple[EventType | None, Callback]] = []  # None: every type
        self.errors: int = 0
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over errors

    @overload
    def on(self, event_type: EventType, function: C, /) -> C: ...
    @overload
    def on(self, event_type: EventType, /) -> Callable[[C], C]: ...
    def on(self, event_type: EventType, function: C | None = None, /) -> C | Callable[[C], C]:
        """Call ``function`` with each event of that type; without it, decorate one.

        Raises InvalidInput for what is no function of one event.
        """
        event_type = _known(event_type)

        def register(decorated: C) -> C:
            self._callbacks.append((event_type, self._adapt(decorated)))
            return decorated

        return register if function is None else register(function)

    def on_any(self, function: C) -> C:
        """Call ``function`` with every event; can decorate."""
        self._callbacks.append((None, self._adapt(function)))
        return function

    def emit(self, event: Event) -> None:
        """Call what is registered for the event; raises nothing that is an Exception."""
        for wanted, function in tuple(self._callbacks):
            if wanted is None or wanted is event.type:
                try:
                    function(event)
                except Exception:
                    with self._lock:
                        self.errors += 1
                    _logger.exception("a callback for %s failed", event.type.value)

    def _adapt(self, function: Callback) -> Callback:
        """Return what is to be called; the asyncio facade accepts async functions here."""
        if not callable(function):
            raise InvalidInput(f"{function!r:.100} cannot be called, so it is no callback")
        if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
            raise InvalidInput(
                "the callback is an async function, which nobody would await here",
                hint="give a plain function, or use miniagent_redis.aio",
            )
        return function


def _known(event_type: EventType | str) -> EventType:
    try:
        return EventType(event_type)
    except ValueError:
        known = ", ".join(each.name for each in EventType)
        raise InvalidInput(
            f"there is no event type {event_type!r:.100}", hint=f"use EventType.…, one of {known}"
        ) from None
