"""Where the events of an answer come from: a model asked here, in a thread aside, or in a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol

from ..errors import MiniAgentError
from ..runtime.aside import Aside
from ..runtime.from_loop import FromLoop
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
    """A model is asked: in the thread of ``aside``, which can be left, or else in the caller's."""

    def __init__(self, model: Model, request: ModelRequest, aside: Aside | None = None) -> None:
        self._model = model
        self._request = request
        self._aside = aside
        self._stream: Iterable[ModelEvent] = ()
        self._events: Iterator[ModelEvent] | None = None
        self._behind: ModelEvent | None = None  # what came after Finish
        self._is_over = False

    def next(self) -> Generator[Pause, None, ModelEvent | None]:
        if self._is_over:
            return None
        if self._aside is None or isinstance(self._stream, list):  # it is there as a whole
            return self._pull()
        return (yield from self._aside.call(self._pull))

    def _pull(self) -> ModelEvent | None:
        try:
            if self._events is None:
                self._stream = self._model.stream(self._request)
                self._events = iter(self._stream)
            event, self._behind = self._behind or next(self._events, None), None
            if isinstance(event, Finish):  # the end comes with it: one wait for both
                self._behind = next(self._events, None)
        except Exception as exc:
            if (told := raised_by_signal(exc)) is not None:
                raise told from None
            if isinstance(exc, MiniAgentError):
                raise
            raise ModelFailed(exc) from exc
        if self._behind is None and (event is None or isinstance(event, Finish)):
            self._close()
            self._is_over = True
        return event

    def close(self) -> None:
        """End the model's stream, and its thread; one that was left ends by itself."""
        if self._aside is None:
            self._close()
        else:
            self._aside.end(None if self._is_over else self._close)

    def _close(self) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


class AwaitedSource:
    """An async model is asked: by a task of an event loop, which is cancelled at ``close``."""

    def __init__(
        self,
        model: AwaitedModel,
        request: ModelRequest,
        ring: Callable[[Bell], object],
        check: Callable[[], object],
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
    check: Callable[[], object],
    *,
    pauses: bool,
) -> Source:
    """Return what asks the model; ``check``, called when the bell rings, may end the waiting."""
    if isinstance(model, AwaitedModel):
        return AwaitedSource(model, request, ring, check, pauses=pauses)
    if getattr(model, "answers_at_once", False):
        return ModelSource(model, request)
    return ModelSource(model, request, Aside(ring, check, pauses=pauses))
