"""Items of the wire: what a message, a call and its result are there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...models import Message
from ...models.waiting import ANSWERED
from .ids import ResponseId

Json = dict[str, Any]
SERVER = "agent"
"""The label under which tools are shown that the agent runs itself."""
ELICITATION = "elicitation"
"""The function that a client is to run, in place of a tool of ours that asks the user."""


def output_text(text: str) -> Json:
    """Return the content of an answer."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message(item_id: str, text: str | None, status: str = "completed") -> Json:
    """Return an answer of the model; without a text it has no content yet."""
    return {
        "id": item_id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [] if text is None else [output_text(text)],
    }


def function_call(item_id: str, call: Mapping[str, Any], status: str = "completed") -> Json:
    """Return a call of a tool that the client runs."""
    done = status == "completed"
    return {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": call["id"],
        "name": call["name"],
        "arguments": arguments_of(call) if done else "",
    }


def question(call: Mapping[str, Any]) -> Json:
    """Return what a tool asks the user as a call that the client answers, with the fields."""
    asked = call.get("question") or {}
    return {"id": call["id"], "name": ELICITATION, "arguments": asked}


def function_output(item_id: str, call_id: str, output: str) -> Json:
    """Return what the client's tool gave."""
    return {
        "id": item_id,
        "type": "function_call_output",
        "status": "completed",
        "call_id": call_id,
        "output": output,
    }


def outputs_in(response: ResponseId, leg: Sequence[Message]) -> list[Json]:
    """Return the results that the client gave, with which a leg begins."""
    return [
        function_output(response.item("fco_", f"o{place}"), step.tool_call_id or "", step.text)
        for place, step in enumerate(leg)
        if step.metadata.get(ANSWERED, {}).get("waits_for") in ("result", "input")
    ]


def own_call(item_id: str, call: Mapping[str, Any], result: Mapping[str, Any] | None) -> Json:
    """Return a call of a tool that the agent ran itself; without a result it runs yet.

    As one of a server's tools: a client that got a function_call would run it.
    """
    is_error = bool(result and result.get("is_error"))
    content = None if result is None else str(result.get("content", ""))
    status = "in_progress" if result is None else "failed" if is_error else "completed"
    return {
        "id": item_id,
        "type": "mcp_call",
        "status": status,
        "server_label": SERVER,
        "name": call["name"],
        "arguments": arguments_of(call),
        "output": None if is_error else content,
        "error": content if is_error else None,
        "approval_request_id": None,
    }


def approval_request(item_id: str, call: Mapping[str, Any]) -> Json:
    """Return a call of the agent's own tool that somebody has to approve."""
    return {
        "id": item_id,
        "type": "mcp_approval_request",
        "server_label": SERVER,
        "name": call["name"],
        "arguments": arguments_of(call),
    }


def arguments_of(call: Mapping[str, Any]) -> str:
    """Return the arguments of a call as JSON."""
    return json.dumps(call.get("arguments", {}), ensure_ascii=False, separators=(",", ":"))


def user_message(item_id: str, said: Message) -> Json:
    """Return what the user, or a system message, said."""
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": said.role if said.role != "tool" else "user",
        "content": _input_parts(said),
    }


def _input_parts(said: Message) -> list[Json]:
    if isinstance(said.content, str):
        return [{"type": "input_text", "text": said.content}]
    return [_input_part(part) for part in said.content]


def _input_part(part: Json) -> Json:
    match part.get("type"):
        case "image":
            return {"type": "input_image", "image_url": _url(part), "detail": "auto"}
        case "file" | "audio":
            name = part.get("name") or "file"
            return {"type": "input_file", "filename": name, "file_data": _url(part)}
        case _:
            return {"type": "input_text", "text": str(part.get("text", ""))}


def _url(part: Json) -> str:
    if part.get("url"):
        return str(part["url"])
    kind = part.get("mime_type") or "application/octet-stream"
    return f"data:{kind};base64,{part.get('data', '')}"
