"""What an instrument is told of a model's answer and of a tool's run."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from ..llm import Answer, Model, ModelEvent, ModelFunction, ModelRequest, Reply
from ..models import ToolResult
from ..runtime.aside import Aside
from ..telemetry import End, ModelCall, Telemetry, ToolRun
from .turn_context import TurnCancelled

T = TypeVar("T")


class MeasuredAnswer(Answer):
    """An answer that is told of: from the first ``next`` until it is closed."""

    def __init__(
        self,
        model: Model,
        request: ModelRequest,
        aside: Aside | None,
        telemetry: Telemetry,
        call: ModelCall,
    ) -> None:
        super().__init__(model, request, aside)
        self._telemetry = telemetry
        self._call = call
        self._ended: End | None = None

    def next(self) -> ModelEvent | None:
        if self._ended is None:
            self._ended = self._telemetry.begin(self._call)
        event = self._timed(super().next)
        if self._call.first_seconds is None:
            self._call.first_seconds = self._call.seconds
        return event

    def reply(self) -> Reply:
        reply = self._timed(super().reply)
        self._call.finish = reply.finish_reason
        return reply

    def close(self) -> None:
        ended, self._ended = self._ended, None
        try:
            super().close()
        finally:
            if ended is not None:
                self._call.usage = self.usage
                ended()

    def _timed(self, step: Callable[[], T]) -> T:
        began = perf_counter()
        try:
            return step()
        except TurnCancelled:
            raise
        except BaseException as exc:
            self._call.error = type(exc).__name__
            raise
        finally:
            self._call.seconds += perf_counter() - began


def run_measured(telemetry: Telemetry, run: ToolRun, tool: Callable[[], ToolResult]) -> ToolResult:
    """Run the tool, telling of it."""
    with telemetry.around(run):
        result = tool()
        run.cached = result.cached
        if result.is_error:
            run.error = "ToolError"
    return result


def told_name(given: str | Model | ModelFunction, model: Model) -> str:
    """Return what an instrument is told of a model that was given so: nothing that may be secret.

    That is its own name, or that of what makes such models, of the function, or of the class.
    """
    name = getattr(model, "name", None)
    if isinstance(name, str) and name:
        return name
    if isinstance(given, str):
        return given.partition(":")[0]
    return str(getattr(given, "__name__", type(given).__name__))
