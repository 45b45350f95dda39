"""What of a stored thread is sent to the model: always a conversation that models accept."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ..models import Message


def conversation(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages such that each tool call is followed by its result, in their order.

    Results come stored in the order in which they finished, so they are sorted by their calls.
    A result without its call, or a call without its result, is left out: that happens only when
    a record between them could not be read. O(n).
    """
    if not any(message.role == "tool" or message.tool_calls for message in messages):
        return tuple(messages)
    view: list[Message] = []
    index = 0
    while index < len(messages):
        message = messages[index]
        index += 1
        if not message.tool_calls:
            if message.role != "tool":
                view.append(message)
            continue
        results: dict[str | None, Message] = {}
        while index < len(messages) and messages[index].role == "tool":
            results.setdefault(messages[index].tool_call_id, messages[index])
            index += 1
        view.extend(_exchange(message, results))
    return tuple(view)


def _exchange(message: Message, results: dict[str | None, Message]) -> list[Message]:
    """Return a message with calls and its results, as far as they go together."""
    pairs = [(call, results.pop(call.id)) for call in message.tool_calls if call.id in results]
    if len(pairs) < len(message.tool_calls):
        message = evolve(message, tool_calls=tuple(call for call, _ in pairs))
    if not pairs and not message.content:
        return []
    return [message, *(result for _, result in pairs)]
