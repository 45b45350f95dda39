"""Async models: functions and objects whose answers are awaited in an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction
from typing import Any, Protocol

from ..models import ToolContext
from ..runtime.aside import check_left, cut_when_left
from ..runtime.from_loop import FromLoop
from ..runtime.pausing import at_once
from .base import Finish, ModelEvent, ModelRequest, TextDelta
from .plain_answers import iterable_of_text, plain_messages, some_text

AsyncModelFunction = (
    Callable[[list[dict[str, Any]]], Awaitable[str | AsyncIterable[str]] | AsyncIterable[str]]
    | Callable[
        [list[dict[str, Any]], ToolContext],
        Awaitable[str | AsyncIterable[str]] | AsyncIterable[str],
    ]
)


class AsyncModel(Protocol):
    """Anything that answers in an event loop. One instance serves many tasks at once.

    In ``aio`` that is the loop of who waits for the answer, and no thread waits; in the sync API
    the one in which async tools run. The task that reads is cancelled when nobody wants the rest.
    """

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Answer piece by piece: an async generator function. As ``Model.stream`` in all else."""
        ...


class AwaitedModel:
    """An async model for who cannot await it: ``stream`` blocks, the answer is awaited elsewhere.

    In the event loop of the task on whose behalf this is called, or else in one that stays.
    """

    def __init__(self, model: AsyncModel) -> None:
        self.model = model

    @property
    def name(self) -> str | None:
        """What the model calls itself, if it does."""
        return getattr(self.model, "name", None)

    @property
    def takes_output(self) -> bool:
        """Whether the model looks at ``ModelRequest.output``."""
        return getattr(self.model, "takes_output", False)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        items = FromLoop(lambda: self.model.stream(request), lambda bell: None, check_left)
        cut_when_left(items.end)  # else nobody would end it while this waits
        try:
            while True:
                event, error = at_once(items.next())
                if error is not None:
                    raise error
                if event is None:
                    return
                yield event
        finally:
            cut_when_left(None)
            items.end()


class AsyncFunctionModel:
    """Answer by awaiting ``function(messages)``, whose messages are those of ``FunctionModel``.

    The text that it returns is the answer; an async generator of text is streamed as it comes.
    Agents fill in a parameter annotated ToolContext.
    """

    def __init__(self, function: AsyncModelFunction) -> None:
        self.function: Callable[..., Any] = function

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        answer: object = self.function(plain_messages(request))
        if isawaitable(answer):
            answer = await answer
        if isinstance(answer, str):
            yield TextDelta(answer)
        elif isinstance(answer, AsyncIterable):
            pieces = answer.__aiter__()
            try:
                async for piece in pieces:
                    yield TextDelta(some_text(piece))
            finally:
                if (close := getattr(pieces, "aclose", None)) is not None:
                    await close()
        else:
            for piece in iterable_of_text(answer):
                yield TextDelta(some_text(piece))
        yield Finish()


def is_async(function: object) -> bool:
    """Whether what it gives when called is to be awaited: a function, a partial, an object."""
    while isinstance(function, partial):
        function = function.func
    called = type(function).__call__ if callable(function) else function
    return any(
        kind(each)
        for kind in (iscoroutinefunction, isasyncgenfunction)
        for each in (function, called)
    )
