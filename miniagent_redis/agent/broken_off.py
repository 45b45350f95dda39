"""What is kept of a turn that cannot go on: its work is not forgotten, and no tool is run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ModelError
from ..models import Message, Usage
from ..models.event import failure
from .call_results import open_calls
from .turn_context import TurnContext

_NO_RESULT = (
    "no result: the turn ended before there was one, and it is not known whether the tool was run; "
    "find out what was done before you call it again"
)


def broken_off(
    steps: Sequence[Message], text: str, error: BaseException, turn: TurnContext
) -> tuple[Message, ...]:
    """Return what is stored behind the steps of a turn that the error ends.

    A result for each call that has none, and in place of the answer the ``text`` that there is of
    it, marked as interrupted, with the error and the tokens that it cost. Nothing if nothing has
    happened: there are no steps behind the user's message, and no text.
    """
    if not steps and not text.strip():
        return ()
    told: dict[str, Any] = {"interrupted": why(error), **failure_of(error)}
    if isinstance(error, ModelError) and (usage := Usage(*error.tokens).to_dict()):
        told["usage"] = usage
    return ended(steps, text, told, turn)


def ended(
    steps: Sequence[Message], text: str, told: dict[str, Any], turn: TurnContext
) -> tuple[Message, ...]:
    """Return the same for an end that is ``told`` in the answer's metadata."""
    now, turn_id = turn.clock.time(), turn.turn_id
    results = [
        Message(
            "tool",
            _NO_RESULT,
            tool_call_id=call.id,
            name=call.name,
            turn_id=turn_id,
            created_at=now,
            metadata={"is_error": True},
        )
        for call in open_calls(steps)
    ]
    answer = Message("assistant", text, turn_id=turn_id, created_at=now, metadata=told)
    return *results, answer


def why(error: BaseException) -> str:
    """Return the word for it in the metadata of an answer, as ``Reply.interrupted``."""
    return "incomplete" if isinstance(error, ModelError) else "stopped"


def failure_of(error: BaseException) -> dict[str, Any]:
    """Return what the metadata of an answer says of what ended it: ``error`` and ``reason``."""
    told = failure(error)
    return {"error": told["error"], "reason": told["message"]}
