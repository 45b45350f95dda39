"""The tool calls of one reply, at once: plain tools in threads, async ones where they are awaited.

In asyncio that is the event loop of the caller, and no thread waits for them. Else each call has a
thread of its own. A pool shared between turns is not used on purpose: a tool may itself run a turn
whose tools need threads of the same pool, and then all wait for each other; a tool that hangs would
hold up the interpreter's exit; and a forked child inherits a pool without its threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from functools import partial
from math import inf
from typing import Any

from ..llm.awaited import is_async
from ..models import ToolCall, ToolResult
from ..runtime.inbox import Inbox
from ..runtime.pausing import Pause
from ..telemetry import Telemetry, ToolRun
from ..tools import ToolRegistry
from ..tools.call import CallInSteps
from .caching import TurnCache
from .call_results import cancelled
from .config import AgentConfig
from .measured import run_measured
from .running_call import Finished, RunningCall
from .turn_context import TurnContext

MOST_AT_ONCE = 16  # of one reply; further calls wait


class ToolRuns:
    """Start the calls; ``next`` comes to the results as they finish.

    Each call sees a copy of the caller's context variables. A tool that took longer than its
    ``timeout``, or else the configuration's ``tool_timeout``, is given up: its result is dropped,
    and others that wait for the same one need not any longer. An async one is cancelled then; a
    thread cannot be, so another one goes on until it ends by itself.
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
        self._running: dict[str, RunningCall] = {}  # by the id of the call
        self._finished: Inbox[tuple[RunningCall, Finished | Future[Any]]]
        self._finished = Inbox(pauses=turn.pauses)
        self._starter = tools.starter() if turn.pauses else None
        turn.ring(self._finished)
        self._start_more()

    def next(self) -> Generator[Pause, None, ToolResult]:
        """Come to the next result; waits until there is one, or the turn may not go on.

        It blocks while a tool holds a thread; while all that run are awaited it may pause. When the
        turn is cancelled, each call without a result gets one that says so. What is no Exception
        (KeyboardInterrupt, SystemExit) in a tool is raised here.
        """
        while True:
            self._turn.check()
            cancelled = self._turn.is_cancelled
            found = yield from self._finished.next_or_bell(
                0 if cancelled else self._patience(),
                blocks=cancelled or any(each.holds_thread for each in self._running.values()),
            )
            if found is None:
                if cancelled:
                    return self._given_up()
                if (late := self._first_late()) is None:
                    continue
                return self._end(*late)
            run, finished = found
            if self._running.get(run.call.id) is not run:
                continue  # it came too late
            if isinstance(finished, Future):
                run.go_on(finished)
            else:
                return self._end(run, finished)

    def _end(self, run: RunningCall, finished: Finished) -> ToolResult:
        del self._running[run.call.id]
        run.let_go()
        if isinstance(finished, BaseException):
            raise finished
        self._start_more()
        return finished

    def _patience(self) -> float:
        """For how many seconds nobody has to look at the clock."""
        latest = min((each.deadline for each in self._running.values()), default=inf)
        return latest - self._turn.clock.monotonic()

    def _given_up(self) -> ToolResult:
        if self._running:
            run = self._running.pop(next(iter(self._running)))
            run.let_go()
            call, text = run.call, "cancelled by the user; it may still be running"
            return ToolResult(call.id, call.name, text, is_error=True)
        return cancelled(self._waiting.popleft())

    def _start_more(self) -> None:
        while self._waiting and len(self._running) < MOST_AT_ONCE and not self._turn.is_cancelled:
            call = self._waiting.popleft()
            tool = self._tools.get(call.name)
            timeout = (tool and tool.timeout) or self._config.tool_timeout or inf
            deadline = self._turn.clock.monotonic() + timeout
            run = RunningCall(call, timeout, deadline, self._finished, self._starter)
            self._running[call.id] = run
            is_awaited = tool is not None and is_async(tool.function) and tool.cache_ttl is None
            run.start(self._steps(run), self._tools, at_once=is_awaited)

    def _steps(self, run: RunningCall) -> CallInSteps:
        turn, longest, call = self._turn, self._config.max_tool_result, run.call
        begin = partial(self._cache.call_in_steps, self._tools, call, longest=longest)
        steps = begin(check=run.check, hold=run.hold)
        if self._telemetry is None:
            return steps
        name = call.name if call.name in self._tools else ""
        return run_measured(self._telemetry, ToolRun(name, turn.session_id, turn.turn_id), steps)

    def close(self) -> None:
        """Wait for nothing any more: calls not started are not, those that run are given up."""
        self._waiting.clear()
        running, self._running = self._running, {}
        for run in running.values():
            run.let_go()

    def _first_late(self) -> tuple[RunningCall, ToolResult] | None:
        now = self._turn.clock.monotonic()
        for run in self._running.values():
            if now >= run.deadline:
                text = f"timed out after {run.timeout:g} s; it may still be running"
                return run, ToolResult(run.call.id, run.call.name, text, is_error=True)
        return None
