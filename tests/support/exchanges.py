"""Tool calls, their results, and whether a conversation has each call followed by its result."""

from __future__ import annotations

from miniagent_redis.models import Message, ToolCall


def calls(*ids: str, text: str = "") -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall(one, "tool") for one in ids))


def result(call_id: str | None) -> Message:
    return Message("tool", f"result {call_id}", tool_call_id=call_id, name="tool")


def is_valid(view: tuple[Message, ...]) -> bool:
    """Tell whether each call is followed by its one result, and there are no others."""
    expected: list[str] = []
    for message in view:
        if message.role == "tool":
            if not expected or expected.pop(0) != message.tool_call_id:
                return False
        elif expected:
            return False
        else:
            expected = [call.id for call in message.tool_calls]
            if len(set(expected)) < len(expected):
                return False  # nobody could tell which of two has which result
    return not expected
