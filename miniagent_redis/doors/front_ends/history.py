"""What was said in a session, as chat pages keep it: messages of the AI SDK, and of AG-UI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from ...models import Message, WaitingCall
from ...models.inquiry import is_inquiry
from ..told import events_of
from .agui import result_id
from .ai_sdk import MessageFold
from .wire import Json, output_text, reply_id

FRONT_END = "front_end"
"""In the metadata of a user's message: ``id``, by which the page knows it."""


def page_id(message: Message) -> str:
    """Return the id by which a page knows a user's message."""
    noted = message.metadata.get(FRONT_END)
    found = noted.get("id") if isinstance(noted, dict) else None
    return str(found or message.id)


def ui_messages(
    session_id: str,
    messages: Iterable[Message],
    pending: Sequence[Message] = (),
    waiting: Sequence[WaitingCall] = (),
) -> list[Json]:
    """Return messages as the AI SDK keeps them; a turn is one of the user, and one answer.

    ``pending`` are those of a turn that is not over, and ``waiting`` its calls to be answered.
    """
    found: list[Json] = []
    for turn in _turns([*messages, *pending]):
        first = turn[0]
        if first.role == "system":
            continue
        if first.role != "user" or first.turn_id is None:
            found += [_alone(message) for message in turn if message.role != "tool"]
            continue
        found.append(_of_user(first))
        is_over = not pending or pending[0].turn_id != first.turn_id
        if len(turn) > 1:
            found.append(_answer(session_id, turn, is_over, () if is_over else waiting))
    return found


def agui_messages(messages: Iterable[Message]) -> list[Json]:
    """Return messages as AG-UI keeps them."""
    found: list[Json] = []
    for turn in _turns(messages):
        number = 0
        for message in turn:
            number += message.role == "assistant"
            if message.role != "system" and not is_inquiry(message):
                found.append(_in_agui(message, number))
    return found


def _turns(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages by the turns to which they belong; each of no turn alone."""
    alone = 0

    def turn(message: Message) -> str:
        nonlocal alone
        alone += message.turn_id is None
        return message.turn_id or f"\0{alone}"

    for _, group in groupby(messages, turn):
        yield list(group)


# --- AI SDK -----------------------------------------------------------------------------------


def _of_user(message: Message) -> Json:
    content = message.content
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {"id": page_id(message), "role": "user", "parts": [_ui_part(part) for part in parts]}


def _alone(message: Message) -> Json:
    if message.role == "user":
        return _of_user(message)
    part = {"type": "text", "text": message.text, "state": "done"}
    return {"id": message.id, "role": message.role, "parts": [part]}


def _ui_part(part: Json) -> Json:
    if part.get("type") == "text":
        return {"type": "text", "text": str(part.get("text", ""))}
    kind = part.get("mime_type") or ("image/*" if part.get("type") == "image" else "")
    url = part.get("url") or f"data:{kind};base64,{part.get('data', '')}"
    named = {"filename": part["name"]} if part.get("name") else {}
    return {"type": "file", "mediaType": kind or "application/octet-stream", "url": url, **named}


def _answer(
    session_id: str, turn: Sequence[Message], is_over: bool, waiting: Sequence[WaitingCall]
) -> Json:
    folded = MessageFold(str(turn[0].turn_id))
    made: Json = {"id": "", "role": "assistant", "parts": []}
    open_parts: dict[str, Json] = {}
    for event in events_of(session_id, turn, is_over=is_over, waiting=waiting):
        for chunk in folded.tell(event):
            _add(made, open_parts, chunk)
    return made


def _add(made: Json, parts: dict[str, Json], chunk: Json) -> None:
    """Add a chunk to a message, as the AI SDK does."""
    kind = chunk["type"]
    match kind:
        case "start":
            made["id"] = chunk["messageId"]
        case "start-step":
            made["parts"].append({"type": "step-start"})
        case "text-start":
            parts[chunk["id"]] = {"type": "text", "text": "", "state": "done"}
            made["parts"].append(parts[chunk["id"]])
        case "text-delta":
            parts[chunk["id"]]["text"] += chunk["delta"]
        case "tool-input-available":
            part = {"type": f"tool-{chunk['toolName']}", "state": "input-available"}
            kept = ("toolCallId", "input", "providerExecuted")
            part |= {name: chunk[name] for name in kept if name in chunk}
            parts[chunk["toolCallId"]] = part
            made["parts"].append(part)
        case "tool-approval-request":
            approval = {"id": chunk["approvalId"]}
            parts[chunk["toolCallId"]] |= {"state": "approval-requested", "approval": approval}
        case "data-question":
            made["parts"].append(chunk)
        case "tool-output-available":
            parts[chunk["toolCallId"]] |= {"state": "output-available", "output": chunk["output"]}
        case "tool-output-error":
            said = {"state": "output-error", "errorText": chunk["errorText"]}
            parts[chunk["toolCallId"]] |= said
        case "tool-output-denied":
            parts[chunk["toolCallId"]]["state"] = "output-denied"
        case _:
            pass
    if "messageMetadata" in chunk:
        made["metadata"] = {**made.get("metadata", {}), **chunk["messageMetadata"]}


# --- AG-UI ------------------------------------------------------------------------------------


def _in_agui(message: Message, number: int) -> Json:
    turn_id = message.turn_id
    if message.role == "user":
        return {"id": page_id(message), "role": "user", "content": _agui_content(message.content)}
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        made = {
            "id": result_id(turn_id, call_id) if turn_id else message.id,
            "role": "tool",
            "toolCallId": call_id,
            "content": output_text(message.content),
        }
        return {**made, "error": made["content"]} if message.metadata.get("is_error") else made
    made = {"id": reply_id(turn_id, number) if turn_id else message.id, "role": "assistant"}
    if message.text or not message.tool_calls:
        made["content"] = message.text
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {
                "name": call.name,
                "arguments": json.dumps(call.arguments, ensure_ascii=False),
            },
        }
        for call in message.tool_calls
    ]
    return {**made, "toolCalls": calls} if calls else made


def _agui_content(content: str | list[Json]) -> str | list[Json]:
    if isinstance(content, str):
        return content
    return [_agui_part(part) for part in content]


def _agui_part(part: Json) -> Json:
    kind = str(part.get("type"))
    if kind == "text":
        return {"type": "text", "text": str(part.get("text", ""))}
    source: Json = {"type": "url", "value": part.get("url")}
    if not part.get("url"):
        source = {"type": "data", "value": part.get("data", "")}
    source["mimeType"] = part.get("mime_type") or "application/octet-stream"
    return {"type": kind if kind in ("image", "audio") else "document", "source": source}
