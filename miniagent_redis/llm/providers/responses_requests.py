"""Conversations as OpenAI's Responses API takes them: a flat list of items.

Nothing is kept at the vendor's: reasoning comes encrypted, is stored beside the reply, and goes
back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...models import Message
from ..base import ModelRequest
from .blocks import Piece, own_blocks, pieces
from .chat_requests import AUDIO, json_schema
from .parts import WEB_IMAGES, Media, content_parts, content_text
from .sending import SHORT_ID, sendable

REASONING = "reasoning.encrypted_content"
_RENAMED = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
_ONLY_CHAT = ("stream_options", "n")


def responses_input(request: ModelRequest, provider: str, model: str) -> list[dict[str, Any]]:
    """Return the conversation as items. Reasoning goes back to the model that it is of."""
    items: list[dict[str, Any]] = []
    for message in sendable(request.messages, provider, SHORT_ID):
        items += _items(message, provider, model)
    return items


def responses_tools(request: ModelRequest) -> list[dict[str, Any]]:
    """Return the tools as the API takes them."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": False,
        }
        for tool in request.tools
    ]


def text_form(request: ModelRequest) -> dict[str, Any] | None:
    """Return the form of the answer, if the API can be told it."""
    form = json_schema(request)
    return None if form is None else {"type": "json_schema", **form}


def from_chat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that are given by their names in chat completions by those of this API."""
    out: dict[str, Any] = {}
    for name, value in options.items():
        match name, value:
            case ("reasoning_effort", _):
                out["reasoning"] = {"effort": value} | dict(out.get("reasoning") or {})
            case ("verbosity", _):
                out["text"] = dict(out.get("text") or {}) | {"verbosity": value}
            case ("response_format", {"type": "json_schema", "json_schema": {**form}}):
                form = {"type": "json_schema", **form}
                out["text"] = dict(out.get("text") or {}) | {"format": form}
            case ("response_format", {"type": _}):
                out["text"] = dict(out.get("text") or {}) | {"format": value}
            case ("tool_choice", {"type": "function", "function": {"name": chosen}}):
                out["tool_choice"] = {"type": "function", "name": chosen}
            case ("tools", [*tools]):
                out["tools"] = [_tool(tool) for tool in tools]
            case _ if name not in _ONLY_CHAT:
                out[_RENAMED.get(name, name)] = value
    return out


def _tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    return {"type": "function", **function} if isinstance(function, Mapping) else tool


def _items(message: Message, provider: str, model: str) -> Iterator[dict[str, Any]]:
    match message.role:
        case "system":
            yield {"role": "system", "content": content_text(message.content)}
        case "user":
            yield {"role": "user", "content": _content(message)}
        case "tool":
            yield {
                "type": "function_call_output",
                "call_id": message.tool_call_id,
                "output": _content(message),
            }
        case _:
            makers = {data.get("model") for data in own_blocks(message, provider)}
            for piece in pieces(message, provider):
                yield from _restored(piece, is_own=model in makers)


def _content(message: Message) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return message.content
    parts = content_parts(message.content)
    if not any(isinstance(part, Media) for part in parts):
        return content_text(message.content)
    return [_part(part) for part in parts]


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    if part.kind == "image" and part.mime_type in WEB_IMAGES:
        return {"type": "input_image", "image_url": part.data_url, "detail": "auto"}
    if part.kind == "audio" and part.data and part.mime_type in AUDIO:
        audio = {"data": part.data, "format": AUDIO[part.mime_type]}
        return {"type": "input_audio", "input_audio": audio}
    if part.kind == "file" and part.url:
        return {"type": "input_file", "file_url": part.url}
    if part.kind == "file":
        name = part.name or "file"
        return {"type": "input_file", "filename": name, "file_data": part.data_url}
    return {"type": "input_text", "text": part.left_out()}


def _restored(piece: Piece, *, is_own: bool) -> Iterator[dict[str, Any]]:
    if piece.own is not None:
        if is_own:
            yield piece.own
    elif piece.call is not None:
        arguments = json.dumps(piece.call.arguments, ensure_ascii=False)
        call = {"call_id": piece.call.id, "name": piece.call.name, "arguments": arguments}
        yield {"type": "function_call", **call}
    else:
        text = piece.media.left_out() if piece.media is not None else piece.text
        if text.strip():
            yield {"role": "assistant", "content": text, **(piece.extra if is_own else {})}
