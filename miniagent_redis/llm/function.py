"""A plain function as a model: takes messages as dicts, gives text or an iterator of text."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from inspect import isawaitable, iscoroutinefunction
from typing import Any

from ..errors import InvalidInput
from ..models import ToolContext
from .awaited import AsyncFunctionModel, AwaitedModel
from .base import Finish, ModelEvent, ModelRequest, TextDelta
from .plain_answers import iterable_of_text, plain_messages, some_text

ModelFunction = (
    Callable[[list[dict[str, Any]]], str | Iterable[str]]
    | Callable[[list[dict[str, Any]], ToolContext], str | Iterable[str]]
)


class FunctionModel:
    """Answer by calling ``function(messages)``.

    ``messages`` are dicts with ``role`` (system, user or assistant) and ``content``, oldest
    first, the system prompt before them. Tool calls of earlier turns are left out: a function
    that knows nothing of tools has no use for them. The text it returns is the answer; an
    iterator of text is streamed as it comes. What is to be awaited, as a lambda may return it, is
    awaited as an async model's answer is, by a thread. Agents fill in a parameter annotated
    ToolContext.
    """

    def __init__(self, function: ModelFunction) -> None:
        if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
            raise InvalidInput(
                "the model is an async function",
                hint="give it to AgentConfig or resolve_model as it is: they take async ones too",
            )
        self.function: Callable[..., Any] = function

    def stream(self, request: ModelRequest) -> Iterable[ModelEvent]:
        answer = self.function(plain_messages(request))
        if isinstance(answer, str):
            return [TextDelta(answer), Finish()]
        if isawaitable(answer) or isinstance(answer, AsyncIterable):
            return AwaitedModel(AsyncFunctionModel(lambda messages: answer)).stream(request)
        return _pieces(iterable_of_text(answer))


def _pieces(answer: Iterable[object]) -> Iterator[ModelEvent]:
    for piece in answer:
        yield TextDelta(some_text(piece))
    yield Finish()
