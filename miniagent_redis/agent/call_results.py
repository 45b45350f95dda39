"""The calls of a reply that have no result yet, and the messages that results become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..models import Message, ToolCall, ToolResult, WaitingCall
from ..models.inquiry import is_inquiry, question_told
from ..models.waiting import ANSWERED
from .turn_context import TurnContext


def result_message(turn: TurnContext, result: ToolResult, *, is_answer: bool = False) -> Message:
    """Return what is stored of a result, or of what the tool asks instead."""
    metadata: dict[str, Any] = {"is_error": True} if result.is_error else {}
    if result.asks is not None:
        metadata |= question_told(result.asks)
    elif is_answer:
        metadata[ANSWERED] = {"waits_for": "approval"}
    if result.not_run:
        metadata["not_run"] = True
    if result.cached:
        metadata |= {"cached": True, "saved_seconds": result.saved_seconds}
    return Message(
        "tool",
        result.content,
        tool_call_id=result.call_id,
        name=result.name,
        turn_id=turn.turn_id,
        created_at=turn.clock.time(),
        metadata=metadata,
    )


def open_calls(steps: Sequence[Message]) -> list[ToolCall]:
    """Return the calls without result. Only the last reply can have some."""
    answered: set[str | None] = set()
    for message in reversed(steps):
        if message.role != "tool":
            return [call for call in message.tool_calls if call.id not in answered]
        if not is_inquiry(message):
            answered.add(message.tool_call_id)
    return []


def cancelled(call: ToolCall | WaitingCall) -> ToolResult:
    """Return the result of a call that was not run, as the turn was cancelled before."""
    return ToolResult(call.id, call.name, "cancelled by the user before it was run", is_error=True)


def unknown_outcome(call: ToolCall) -> ToolResult:
    """Return the result of a call that may have been run, and is not run again."""
    return ToolResult(
        call.id,
        call.name,
        "outcome unknown: the process stopped while it ran, and it was not run again because "
        "doing it twice may do harm; find out what was done before you call it again",
        is_error=True,
    )
