"""The tool calls of one reply, each in a thread of its own.

A pool shared between turns is not used on purpose: a tool may itself run a turn whose tools need
threads of the same pool, and then all wait for each other; a tool that hangs would hold up the
interpreter's exit; and a forked child inherits a pool without its threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from math import inf
from queue import Empty, SimpleQueue

from ..clock import Clock
from ..models import ToolCall, ToolResult
from ..tools import ToolRegistry
from .caching import Flight, TurnCache

MOST_AT_ONCE = 16  # threads for one reply; further calls wait
_LOOK_AROUND = 0.05  # seconds between looks at the clock and at whether the turn was cancelled


class _NotWanted(Exception):
    """A call that waits for somebody else's result was given up."""


class ToolRuns:
    """Start the calls; ``next`` gives the results as they finish.

    Each call runs in a daemon thread with a copy of the caller's context variables. ``timeout``
    is in seconds, for tools that set none; None waits for ever. A thread cannot be killed: a tool
    that took too long goes on until it ends by itself, but its result is dropped, and others that
    wait for the same one need not any longer. Results of more than ``longest`` characters are cut.
    """

    def __init__(
        self,
        tools: ToolRegistry,
        calls: Sequence[ToolCall],
        *,
        clock: Clock,
        timeout: float | None,
        longest: int,
        check: Callable[[], None],
        is_cancelled: Callable[[], bool],
        cache: TurnCache,
    ) -> None:
        self._tools = tools
        self._clock = clock
        self._timeout = timeout
        self._longest = longest
        self._check = check
        self._is_cancelled = is_cancelled
        self._cache = cache
        self._waiting = deque(calls)
        self._running: dict[str, tuple[ToolCall, float, float]] = {}  # with timeout and deadline
        self._flights: dict[str, Flight] = {}  # of running calls for whose results others may wait
        self._finished: SimpleQueue[tuple[str, ToolResult | BaseException]] = SimpleQueue()
        self._start_more()

    def next(self) -> ToolResult:
        """Return the next result; blocks until there is one, or what ``check`` raises.

        When the turn is cancelled, each call without a result gets one that says so. What is no
        Exception (KeyboardInterrupt, SystemExit) in a tool is raised here.
        """
        while True:
            self._check()
            cancelled = self._is_cancelled()
            try:
                call_id, finished = self._finished.get(timeout=0 if cancelled else _LOOK_AROUND)
            except Empty:
                if cancelled:
                    return self._given_up()
                if (late := self._first_late()) is None:
                    continue
                call_id, finished = late.call_id, late
            if self._running.pop(call_id, None) is None:
                continue  # it came too late
            self._land(call_id)
            if isinstance(finished, BaseException):
                raise finished
            self._start_more()
            return finished

    def _given_up(self) -> ToolResult:
        if self._running:
            call, _, _ = self._running.pop(next(iter(self._running)))
            self._land(call.id)
            text = "cancelled by the user; it may still be running"
        else:
            call, text = self._waiting.popleft(), "cancelled by the user before it was run"
        return ToolResult(call.id, call.name, text, is_error=True)

    def _start_more(self) -> None:
        while self._waiting and len(self._running) < MOST_AT_ONCE and not self._is_cancelled():
            call = self._waiting.popleft()
            tool = self._tools.get(call.name)
            timeout = (tool and tool.timeout) or self._timeout or inf
            self._running[call.id] = (call, timeout, self._clock.monotonic() + timeout)
            threading.Thread(
                target=copy_context().run,
                args=(self._run, call),
                name=f"miniagent-tool-{call.name}",
                daemon=True,
            ).start()

    def close(self) -> None:
        """Wait for nothing any more: calls not started are not, those that run go on unheeded."""
        self._waiting.clear()
        self._running.clear()
        for call_id in list(self._flights):
            self._land(call_id)

    def _land(self, call_id: str) -> None:
        if (flight := self._flights.pop(call_id, None)) is not None:
            flight.__exit__(None, None, None)

    def _run(self, call: ToolCall) -> None:
        def check() -> None:
            if call.id not in self._running:
                raise _NotWanted

        def take_off(flight: Flight) -> None:
            self._flights[call.id] = flight

        finished: ToolResult | BaseException
        try:
            finished = self._cache.call_tool(
                self._tools, call, longest=self._longest, check=check, take_off=take_off
            )
        except _NotWanted:
            return
        except BaseException as exc:
            finished = exc
        finally:
            self._flights.pop(call.id, None)
        self._finished.put((call.id, finished))

    def _first_late(self) -> ToolResult | None:
        now = self._clock.monotonic()
        for call, timeout, deadline in self._running.values():
            if now >= deadline:
                text = f"timed out after {timeout:g} s; it may still be running"
                return ToolResult(call.id, call.name, text, is_error=True)
        return None
