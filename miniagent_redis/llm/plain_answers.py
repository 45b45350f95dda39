"""What plain functions that answer are given, and what may be a text that they give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import ModelError
from .base import ModelRequest


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
