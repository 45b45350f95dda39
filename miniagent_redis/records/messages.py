"""Messages and tool calls as JSON data, and back.

What has its default is left out. Members that this version does not know are kept in ``extra`` and
written again, in front of the others.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import fields

from ..models import Message, ToolCall, new_id
from ..models.message import ROLES
from .frame import Unreadable
from .json import Json

_ROLES: dict[Any, Any] = {role: role for role in ROLES}  # so that all messages share the four texts
_FRAME = {"v", "crc"}  # members of a record that are no message's
_OF_MESSAGE = frozenset({f.name for f in fields(Message)} - {"extra"} | _FRAME)
_OF_CALL = frozenset({f.name for f in fields(ToolCall)} - {"extra"} | _FRAME)


class _Draft(Message):
    """A message that can still be filled, before its class is that of the others.

    A thread is long, and the constructor of a frozen class takes more than twice as long as this.
    """

    __slots__ = ()
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__


def message_to_data(message: Message) -> Json:
    """Return the message as data for a format to encode, which decides what it may hold."""
    extra = message.extra
    data = {n: value for n, value in extra.items() if n not in _OF_MESSAGE} if extra else {}
    data["role"] = message.role
    if message.content != "":
        data["content"] = message.content
    if message.tool_calls != ():
        data["tool_calls"] = [tool_call_to_data(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        data["name"] = message.name
    data["id"] = message.id
    if message.turn_id is not None:
        data["turn_id"] = message.turn_id
    if message.created_at != 0.0:
        data["created_at"] = message.created_at
    if message.metadata:
        data["metadata"] = message.metadata
    return data


def tool_call_to_data(call: ToolCall) -> Json:
    """Return the tool call as data."""
    extra = call.extra
    data = {n: value for n, value in extra.items() if n not in _OF_CALL} if extra else {}
    data["id"] = call.id
    data["name"] = call.name
    if call.arguments:
        data["arguments"] = call.arguments
    return data


def message_from_data(data: Json, before: Message | None = None) -> Message:
    """Rebuild a message; raises Unreadable.

    If ``before`` is of the same turn, both keep one text as their ``turn_id``.
    """
    get = data.get
    role = get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise Unreadable(f"it is not a message: its role is {role!r:.100}")
    content = get("content", "")
    if type(content) is not str:
        _check_content(content)
    calls = get("tool_calls", ())
    tool_call_id, name = get("tool_call_id"), get("name")
    message_id, turn_id = get("id"), get("turn_id")
    if before is not None and before.turn_id == turn_id:
        turn_id = before.turn_id
    at, metadata = get("created_at", 0.0), get("metadata")
    draft: Any = object.__new__(_Draft)
    draft.role = _ROLES[role]
    draft.content = content
    draft.tool_calls = calls if calls == () else _tool_calls(calls)
    draft.tool_call_id = None if tool_call_id is None else str(tool_call_id)
    draft.name = None if name is None else str(name)
    draft.id = message_id if type(message_id) is str else _text(message_id) or new_id()
    draft.turn_id = turn_id if type(turn_id) is str else _text(turn_id)
    draft.created_at = at if type(at) is float else _seconds(at)
    if metadata is None:
        metadata = {}
    draft.metadata = metadata if type(metadata) is dict else _object(metadata, "metadata")
    if not _OF_MESSAGE.issuperset(data):
        draft.extra = _unknown(data, _OF_MESSAGE)
    draft.__class__ = Message
    message: Message = draft
    return message


def tool_call_from_data(data: object) -> ToolCall:
    """Rebuild a tool call; raises Unreadable."""
    call = _object(data, "a tool call")
    if "id" not in call or "name" not in call:
        raise Unreadable("it is not a message: a tool call in it has no id, or no name")
    return ToolCall(
        str(call["id"]),
        str(call["name"]),
        _object(call.get("arguments", {}), "the arguments of a tool call"),
        _unknown(call, _OF_CALL),
    )


def _tool_calls(calls: object) -> tuple[ToolCall, ...]:
    if not isinstance(calls, (list, tuple)):
        raise Unreadable(f"it is not a message: tool_calls is {type(calls).__name__}, no list")
    return tuple(map(tool_call_from_data, cast(list[object], calls)))


def _check_content(content: object) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        kind = type(content).__name__
        raise Unreadable(f"it is not a message: content is {kind}, neither text nor a list")
    for part in cast(list[object], content):
        _object(part, "a content part")


def _object(value: Any, what: str) -> Json:
    if not isinstance(value, dict):
        raise Unreadable(f"it is not a message: {what} is {type(value).__name__}, no object")
    return cast(Json, value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"it is not a message: created_at is {value!r:.100}") from None


def _unknown(data: Json, known: frozenset[str]) -> Json:
    return {name: value for name, value in data.items() if name not in known}
