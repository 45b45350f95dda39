"""A plain function as a model: takes messages as dicts, gives text or an iterator of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from inspect import iscoroutinefunction
from typing import Any

from ..errors import InvalidInput, ModelError
from ..models import ToolContext
from .base import Finish, ModelEvent, ModelRequest, TextDelta

ModelFunction = (
    Callable[[list[dict[str, Any]]], str | Iterable[str]]
    | Callable[[list[dict[str, Any]], ToolContext], str | Iterable[str]]
)


class FunctionModel:
    """Answer by calling ``function(messages)``.

    ``messages`` are dicts with ``role`` (system, user or assistant) and ``content``, oldest
    first, the system prompt before them. Tool calls of earlier turns are left out: a function
    that knows nothing of tools has no use for them. The text it returns is the answer; an
    iterator of text is streamed as it comes. Agents fill in a parameter annotated ToolContext.
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
        return _pieces(iterable_of_text(answer))


def _pieces(answer: Iterable[object]) -> Iterator[ModelEvent]:
    for piece in answer:
        yield TextDelta(some_text(piece))
    yield Finish()


def plain_messages(request: ModelRequest) -> list[dict[str, Any]]:
    """Return what a function is given."""
    system = [{"role": "system", "content": request.system}] if request.system else []
    return system + [
        {"role": message.role, "content": message.content}
        for message in request.messages
        if message.role != "tool" and (message.content or not message.tool_calls)
    ]


def iterable_of_text(answer: object) -> Iterable[object]:
    """Return pieces that may be text; raises ModelError for anything else."""
    if isinstance(answer, Iterable) and not isinstance(answer, (bytes, dict)):
        return answer
    raise _wrong(answer)


def some_text(piece: object) -> str:
    """Return a piece that is text; raises ModelError for anything else."""
    if isinstance(piece, str):
        return piece
    raise _wrong(piece)


def _wrong(found: object) -> ModelError:
    return ModelError(
        f"the model function gave {type(found).__name__}",
        hint="return the answer as str, or an iterator of str",
    )
