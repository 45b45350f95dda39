"""What an instrument is told of a model's answer and of a tool's run."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import perf_counter

from ..llm import Answer, Model, ModelEvent, ModelRequest, Reply
from ..llm.resolve import AnyModel
from ..llm.sources import Source
from ..runtime.pausing import Pause
from ..telemetry import End, ModelCall, Telemetry, ToolRun
from ..tools.call import CallInSteps
from .turn_context import TurnCancelled


class MeasuredAnswer(Answer):
    """An answer that is told of: from the first ``next`` until it is closed."""

    def __init__(
        self,
        model: Model,
        request: ModelRequest,
        source: Source,
        telemetry: Telemetry,
        call: ModelCall,
    ) -> None:
        super().__init__(model, request, source)
        self._telemetry = telemetry
        self._call = call
        self._ended: End | None = None

    def next_in_steps(self) -> Generator[Pause, None, ModelEvent | None]:
        if self._ended is None:
            self._ended = self._telemetry.begin(self._call)
        with self._timed():
            event = yield from super().next_in_steps()
        if self._call.first_seconds is None:
            self._call.first_seconds = self._call.seconds
        return event

    def reply(self) -> Reply:
        with self._timed():
            reply = super().reply()
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

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        except TurnCancelled:
            raise
        except BaseException as exc:
            self._call.error = type(exc).__name__
            raise
        finally:
            self._call.seconds += perf_counter() - began


def run_measured(telemetry: Telemetry, run: ToolRun, steps: CallInSteps) -> CallInSteps:
    """Run the tool, telling of it."""
    with telemetry.around(run):
        result = yield from steps
        run.cached = result.cached
        if result.is_error:
            run.error = "ToolError"
    return result


def told_name(given: AnyModel, model: Model) -> str:
    """Return what an instrument is told of a model that was given so: nothing that may be secret.

    That is its own name, or that of what makes such models, of the function, or of the class.
    """
    name = getattr(model, "name", None)
    if isinstance(name, str) and name:
        return name
    if isinstance(given, str):
        return given.partition(":")[0]
    return str(getattr(given, "__name__", type(given).__name__))
