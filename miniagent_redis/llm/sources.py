"""Where the events of an answer come from: a model asked here, in a thread aside, or in a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol

from ..errors import MiniAgentError
from ..runtime.aside import Aside
from ..runtime.from_loop import FromLoop
from ..runtime.inbox import Check
from ..runtime.interrupts import Bell
from ..runtime.pausing import Pause
from ..runtime.signalled import raised_by_signal
from .awaited import AwaitedModel
from .base import Finish, Model, ModelEvent, ModelRequest


class ModelFailed(Exception):
    """An exception of the model's own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Source(Protocol):
    """The events of one answer."""

    def next(self) -> Generator[Pause, None, ModelEvent | None]:
        """Return the next event, None at the end; raises ModelFailed or a MiniAgentError."""
        ...

    def close(self) -> None:
        """End it: nobody wants the rest."""
        ...


class ModelSource:
    """A model is asked in the caller's thread, as its events are asked for."""

    def __init__(self, model: Model, request: ModelRequest) -> None:
        self._events = _events(model, request)

    def next(self) -> Generator[Pause, None, ModelEvent | None]:
        return next(self._events, None)
        yield  # it is a generator that never pauses

    def close(self) -> None:
        try:
            self._events.close()
        except ModelFailed as failed:
            raise failed.error from None


def _events(model: Model, request: ModelRequest) -> Generator[ModelEvent, None, None]:
    """Yield the events of one answer. Raises ModelFailed or a MiniAgentError."""
    stream: Iterable[ModelEvent] = ()
    try:
        try:
            stream = model.stream(request)
            events: Iterator[ModelEvent | None] = iter(stream)
            for event in events:
                if event is None:  # a model of one's own may give anything
                    return
                if not isinstance(event, Finish):
                    yield event
                    continue
                behind = next(events, None)  # the end comes with it: one wait for both
                if behind is None:
                    _close(stream)
                    stream = ()
                yield event
                if behind is not None:
                    yield behind
        finally:
            _close(stream)
    except Exception as exc:
        if (told := raised_by_signal(exc)) is not None:
            raise told from None
        if isinstance(exc, MiniAgentError):
            raise
        raise ModelFailed(exc) from exc


def _close(stream: Iterable[ModelEvent]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()


class AwaitedSource:
    """An async model is asked: by a task of an event loop, which is cancelled at ``close``."""

    def __init__(
        self,
        model: AwaitedModel,
        request: ModelRequest,
        ring: Callable[[Bell], object],
        check: Check,
        *,
        pauses: bool = False,
    ) -> None:
        self._items = FromLoop(lambda: model.model.stream(request), ring, check, pauses=pauses)
        self._is_over = False

    def next(self) -> Generator[Pause, None, ModelEvent | None]:
        if self._is_over:
            return None
        event, error = yield from self._items.next()
        self._is_over = event is None
        if error is None or isinstance(error, MiniAgentError):
            if error is not None:
                raise error
            return event
        raise ModelFailed(error) if isinstance(error, Exception) else error

    def close(self) -> None:
        self._items.end()


def source_of(
    model: Model,
    request: ModelRequest,
    ring: Callable[[Bell], object],
    check: Check,
    *,
    pauses: bool,
) -> Source:
    """Return what asks the model; ``check``, called when the bell rings, may end the waiting."""
    if isinstance(model, AwaitedModel):
        return AwaitedSource(model, request, ring, check, pauses=pauses)
    if getattr(model, "answers_at_once", False):
        return ModelSource(model, request)
    return Aside(_events(model, request), ring, check, pauses=pauses)
