"""What a client sends to be answered: earlier messages, a new one, or the results of its tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, evolve, field

from ...models import Approve, Deny, Message, ToolCall
from ...store.parking import Answer
from .checks import Json, list_of, object_of, refuse, text_in
from .content import content_of, text_of
from .ids import REASONING

Resolve = Callable[[str, str], Json]
"""Gives the item of an id that a client refers to; the second text is where it does."""

_IGNORED = frozenset({"reasoning", "mcp_list_tools", "compaction"})


@define
class Given:
    """What was sent, in order. ``steps`` are messages as a thread has them, calls in replies."""

    param: str = "input"
    """What the request calls it."""
    system: list[str] = field(factory=list)
    steps: list[Message] = field(factory=list)
    answers: dict[str, Answer] = field(factory=dict)
    """By the id of the call: results and approvals for calls that are not among these messages."""

    def say(self, role: Any, content: str | list[Json]) -> None:
        """Add a message."""
        if role in ("system", "developer"):
            self.system.append(content if isinstance(content, str) else str(content))
        else:
            self.steps.append(Message(role, content))

    def call(self, call: ToolCall) -> None:
        """Add a call: to the reply that stands last, or to one without text."""
        if not self.steps or self.steps[-1].role != "assistant":
            self.steps.append(Message("assistant", ""))
        self.steps[-1] = evolve(self.steps[-1], tool_calls=(*self.steps[-1].tool_calls, call))

    def result(self, call_id: str, text: str, *, is_error: bool = False) -> None:
        """Add what a call gave; without its call here it is an answer to one that waits."""
        calls = [call for step in self.steps for call in step.tool_calls if call.id == call_id]
        if not calls:
            self.answers[call_id] = text
            return
        metadata = {"is_error": True} if is_error else {}
        step = Message("tool", text, tool_call_id=call_id, name=calls[-1].name, metadata=metadata)
        self.steps.append(step)

    def check(self) -> None:
        """Refuse calls without results, which no model understands."""
        open_calls: dict[str, None] = {}
        for step in self.steps:
            if step.role == "tool":
                open_calls.pop(step.tool_call_id or "", None)
                continue
            if open_calls:
                break
            open_calls = {call.id: None for call in step.tool_calls}
        if open_calls:
            refuse(f"No tool output found for function call {', '.join(open_calls)}.", self.param)


def input_items(value: object, resolve: Resolve) -> Given:
    """Read the ``input`` of a response: a text, or items."""
    given = Given()
    if value is None:
        refuse("Missing required parameter: 'input'.", "input", "missing_required_parameter")
    if isinstance(value, str):
        given.say("user", value)
        return given
    for place, one in enumerate(list_of(value, "input")):
        param = f"input[{place}]"
        item = object_of(one, param)
        if item.get("type") == "item_reference" or (set(item) == {"id"}):
            item_id = text_in(item, "id", param, required=True)
            is_kept = not item_id.startswith(REASONING)
            item = resolve(item_id, f"{param}.id") if is_kept else {"type": "reasoning"}
        _read_item(given, item, param)
    given.check()
    return given


def _read_item(given: Given, item: Json, param: str) -> None:
    kind = text_in(item, "type", param) or "message"
    match kind:
        case "message":
            role = text_in(item, "role", param, required=True)
            if role not in ("user", "assistant", "system", "developer"):
                refuse(f"Invalid value: '{role:.60}'.", f"{param}.role", "invalid_value")
            content = item.get("content")
            if role == "assistant" and isinstance(content, list) and not content:
                return
            if role == "user":
                given.say(role, content_of(content, f"{param}.content"))
            else:
                given.say(role, text_of(content, f"{param}.content"))
        case "function_call":
            given.call(_call(item, "call_id", param))
        case "function_call_output":
            call_id = text_in(item, "call_id", param, required=True)
            given.result(call_id, text_of(item.get("output"), f"{param}.output"))
        case "mcp_call":
            given.call(_call(item, "id", param))
            error = item.get("error")
            output = error if error is not None else item.get("output")
            text = output if isinstance(output, str) else json.dumps(output or "")
            given.result(str(item.get("id")), text, is_error=error is not None)
        case "mcp_approval_request":
            pass  # the call itself is in the turn that waits
        case "mcp_approval_response":
            given.answers[text_in(item, "approval_request_id", param, required=True)] = (
                Approve() if item.get("approve") is True else Deny(text_in(item, "reason", param))
            )
        case _ if kind in _IGNORED:
            pass
        case _:
            refuse(
                f"Invalid value: '{kind:.60}'. Messages, function calls and their outputs are "
                "understood here.",
                f"{param}.type",
                "invalid_value",
            )


def _call(item: Json, id_name: str, param: str) -> ToolCall:
    call_id = text_in(item, id_name, param, required=True)
    name = text_in(item, "name", param, required=True)
    return ToolCall(call_id, name, _arguments(item.get("arguments"), f"{param}.arguments"))


def _arguments(value: object, param: str) -> Json:
    if not value:
        return {}
    try:
        found: object = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}  # so does a reply of a model that is no JSON: its result says what was wrong
    return found if isinstance(found, dict) else object_of(None, param)


def chat_messages(value: object) -> Given:
    """Read the ``messages`` of a chat completion."""
    given = Given("messages")
    if value is None:
        refuse("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
    for place, one in enumerate(list_of(value, "messages")):
        param = f"messages[{place}]"
        message = object_of(one, param)
        role = text_in(message, "role", param, required=True)
        content = message.get("content")
        match role:
            case "user":
                given.say(role, content_of(content, f"{param}.content"))
            case "system" | "developer":
                given.say(role, text_of(content, f"{param}.content"))
            case "assistant":
                given.say(role, text_of(content, f"{param}.content") if content else "")
                calls = list_of(message.get("tool_calls"), f"{param}.tool_calls")
                for number, call in enumerate(calls):
                    _chat_call(given, call, f"{param}.tool_calls[{number}]")
            case "tool":
                call_id = text_in(message, "tool_call_id", param, required=True)
                given.result(call_id, text_of(content, f"{param}.content"))
            case _:
                refuse(f"Invalid value: '{role:.60}'.", f"{param}.role", "invalid_value")
    given.check()
    return given


def _chat_call(given: Given, value: object, param: str) -> None:
    call = object_of(value, param)
    if call.get("type", "function") != "function":
        refuse("Only calls of functions are understood here.", f"{param}.type", "invalid_value")
    function = object_of(call.get("function"), f"{param}.function")
    given.call(_call({**function, "id": call.get("id")}, "id", param))


def split(steps: Sequence[Message]) -> tuple[list[Message], Message | None, list[Message]]:
    """Split messages at the last one of the user: what is before, that one, what is behind.

    Of what is before it those with nothing in them are left out.
    """
    for place in range(len(steps) - 1, -1, -1):
        if steps[place].role == "user":
            earlier = [
                one for one in steps[:place] if one.content or one.tool_calls or one.tool_call_id
            ]
            return earlier, steps[place], list(steps[place + 1 :])
    return list(steps), None, []
