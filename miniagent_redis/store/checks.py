"""What a message, and the messages of a turn, must be like to be stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from ..errors import InvalidInput
from ..models import Message, ToolCall
from ..models.message import ROLES

_YEAR_10000 = 253_402_300_800.0  # seconds since the epoch; datetime ends before it


def check_message(message: object) -> None:
    """Raise InvalidInput unless it is a Message that comes back from Redis as it is.

    What is inside its dicts is looked at when it is encoded.
    """
    if not isinstance(message, Message):
        raise InvalidInput(
            f"a message is a Message, not {type(message).__name__}",
            hint='write Message("user", "the text")',
        )
    if message.role not in ROLES:
        raise InvalidInput(f"a message's role is one of {', '.join(ROLES)}, not {message.role!r}")
    content = cast(object, message.content)
    if isinstance(content, list):
        for part in cast(list[object], content):
            _check_object(part, "a content part")
    elif not isinstance(content, str):
        raise InvalidInput(
            f"a message must be text or a list of content parts, not {type(content).__name__}"
        )
    calls = cast(object, message.tool_calls)
    if not isinstance(calls, (tuple, list)):
        raise InvalidInput(f"tool_calls is a tuple of ToolCall, not {type(calls).__name__}")
    for call in cast(Sequence[object], calls):
        _check_tool_call(call)
    texts = message.id, message.turn_id or "", message.tool_call_id or "", message.name or ""
    if not all(isinstance(text, str) for text in cast(tuple[object, ...], texts)):
        raise InvalidInput("id, turn_id, tool_call_id and name of a message are text, or None")
    at = cast(object, message.created_at)
    if not isinstance(at, (int, float)) or not 0 <= at < _YEAR_10000:
        raise InvalidInput(f"created_at must be seconds since the epoch, not {at!r}")
    _check_object(message.metadata, "metadata")
    _check_object(message.extra, "extra")
    # A tool may find nothing to say, and an answer may be interrupted before its first word.
    may_be_empty = message.role == "tool" or message.tool_calls or "interrupted" in message.metadata
    if not content and not may_be_empty:
        raise InvalidInput("the message is empty", hint="send some text")


def _check_tool_call(call: object) -> None:
    if not isinstance(call, ToolCall):
        raise InvalidInput(f"tool_calls holds ToolCall objects, not {type(call).__name__}")
    if not isinstance(call.id, str) or not isinstance(call.name, str):
        raise InvalidInput("id and name of a tool call are text")
    _check_object(call.arguments, "the arguments of a tool call")


def _check_object(value: object, what: str) -> None:
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} must be a dict, not {type(value).__name__}")


def check_results(messages: Sequence[Message]) -> None:
    """Raise InvalidInput unless all tool calls are followed by their results, and nothing else."""
    waiting: list[str | None] = []
    for message in messages:
        if message.role != "tool" and not waiting:
            waiting = [call.id for call in message.tool_calls]
        elif message.role == "tool" and message.tool_call_id in waiting:
            waiting.remove(message.tool_call_id)
        else:
            break
    else:
        if not waiting:
            return
    raise InvalidInput(
        "each tool call must be followed by its result",
        cause="a thread never holds a call without its result, or a result without a call",
    )
