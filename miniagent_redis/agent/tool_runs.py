"""The tool calls of one reply, each in a thread of its own.

A pool shared between turns is not used on purpose: a tool may itself run a turn whose tools need
threads of the same pool, and then all wait for each other; a tool that hangs would hold up the
interpreter's exit; and a forked child inherits a pool without its threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from functools import partial
from math import inf
from queue import Empty, SimpleQueue

from ..models import ToolCall, ToolResult
from ..runtime.recall import Recall
from ..telemetry import Telemetry, ToolRun
from ..tools import ToolRegistry
from .caching import Lookup, TurnCache
from .config import AgentConfig
from .measured import run_measured
from .turn_context import TurnContext

MOST_AT_ONCE = 16  # threads for one reply; further calls wait
_LOOK_AROUND = 0.05  # seconds between looks at the clock and at whether the turn was cancelled


class NotWanted(Exception):
    """A call that waits for somebody else's result was given up."""


class ToolRuns:
    """Start the calls; ``next`` gives the results as they finish.

    Each call runs in a daemon thread with a copy of the caller's context variables. A tool that
    took longer than its ``timeout``, or else the configuration's ``tool_timeout``, is given up:
    its result is dropped, and others that wait for the same one need not any longer. An async one
    is cancelled then; a thread cannot be, so another one goes on until it ends by itself.
    """

    def __init__(
        self,
        tools: ToolRegistry,
        calls: Sequence[ToolCall],
        *,
        config: AgentConfig,
        turn: TurnContext,
        cache: TurnCache,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._tools = tools
        self._config = config
        self._turn = turn
        self._cache = cache
        self._telemetry = telemetry
        self._waiting = deque(calls)
        self._running: dict[str, tuple[ToolCall, float, float]] = {}  # with timeout and deadline
        self._recalls: dict[str, Recall] = {}  # of running calls
        self._lookups: dict[str, Lookup] = {}  # of running calls for whose results others may wait
        self._finished: SimpleQueue[tuple[str, ToolResult | BaseException]] = SimpleQueue()
        self._start_more()

    def next(self) -> ToolResult:
        """Return the next result; blocks until there is one, or the turn may not go on.

        When the turn is cancelled, each call without a result gets one that says so. What is no
        Exception (KeyboardInterrupt, SystemExit) in a tool is raised here.
        """
        while True:
            self._turn.check()
            cancelled = self._turn.is_cancelled
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
            self._let_go(call_id)
            if isinstance(finished, BaseException):
                raise finished
            self._start_more()
            return finished

    def _given_up(self) -> ToolResult:
        if self._running:
            call, _, _ = self._running.pop(next(iter(self._running)))
            self._let_go(call.id)
            text = "cancelled by the user; it may still be running"
        else:
            call, text = self._waiting.popleft(), "cancelled by the user before it was run"
        return ToolResult(call.id, call.name, text, is_error=True)

    def _start_more(self) -> None:
        while self._waiting and len(self._running) < MOST_AT_ONCE and not self._turn.is_cancelled:
            call = self._waiting.popleft()
            tool = self._tools.get(call.name)
            timeout = (tool and tool.timeout) or self._config.tool_timeout or inf
            self._running[call.id] = (call, timeout, self._turn.clock.monotonic() + timeout)
            recall, context = Recall(), copy_context()
            context.run(recall.hear)
            self._recalls[call.id] = recall
            threading.Thread(
                target=context.run,
                args=(self._run, call),
                name=f"miniagent-tool-{call.name}",
                daemon=True,
            ).start()

    def close(self) -> None:
        """Wait for nothing any more: calls not started are not, those that run are given up."""
        self._waiting.clear()
        self._running.clear()
        for call_id in {*self._recalls.copy(), *self._lookups.copy()}:
            self._let_go(call_id)

    def _let_go(self, call_id: str) -> None:
        if (recall := self._recalls.pop(call_id, None)) is not None:
            recall.make()
        if (lookup := self._lookups.pop(call_id, None)) is not None:
            lookup.end()

    def _run(self, call: ToolCall) -> None:
        def check() -> None:
            if call.id not in self._running:
                raise NotWanted

        def hold(lookup: Lookup) -> None:
            self._lookups[call.id] = lookup

        longest, turn = self._config.max_tool_result, self._turn
        run = partial(
            self._cache.call_tool, self._tools, call, longest=longest, check=check, hold=hold
        )
        finished: ToolResult | BaseException
        try:
            if self._telemetry is None:
                finished = run()
            else:
                name = call.name if call.name in self._tools else ""
                told = ToolRun(name, turn.session_id, turn.turn_id)
                finished = run_measured(self._telemetry, told, run)
        except NotWanted:
            return
        except BaseException as exc:
            finished = exc
        finally:
            self._lookups.pop(call.id, None)
        self._finished.put((call.id, finished))

    def _first_late(self) -> ToolResult | None:
        now = self._turn.clock.monotonic()
        for call, timeout, deadline in self._running.values():
            if now >= deadline:
                text = f"timed out after {timeout:g} s; it may still be running"
                return ToolResult(call.id, call.name, text, is_error=True)
        return None
