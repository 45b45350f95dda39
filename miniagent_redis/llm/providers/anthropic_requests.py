"""Conversations as Anthropic's messages."""

from __future__ import annotations

import re
from typing import Any

from ...models import Message
from ..base import ModelRequest
from .blocks import pieces
from .parts import WEB_IMAGES, Media, content_parts, content_text
from .sending import START, sendable

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def anthropic_messages(request: ModelRequest, provider: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the system prompt and the messages: roles in turn, the user's first.

    Messages of the role system go to the prompt, since there is no such role.
    """
    system = [request.system] if request.system else []
    messages: list[dict[str, Any]] = []
    for message in sendable(request.messages, provider, _ID):
        if message.role == "system":
            system.append(content_text(message.content))
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": []})
        messages[-1]["content"] += _blocks(message, provider)
    if messages and messages[0]["role"] == "assistant":
        messages.insert(0, {"role": "user", "content": [{"type": "text", "text": START}]})
    return "\n\n".join(system), messages


def _blocks(message: Message, provider: str) -> list[dict[str, Any]]:
    if message.role == "user":
        return [_part(part) for part in content_parts(message.content)]
    if message.role == "tool":
        parts = content_parts(message.content)
        is_text = isinstance(message.content, str) or not any(isinstance(p, Media) for p in parts)
        result = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id,
            "content": content_text(message.content) if is_text else [_part(p) for p in parts],
        }
        return [result | {"is_error": True} if message.metadata.get("is_error") else result]
    blocks: list[dict[str, Any]] = []
    for piece in pieces(message, provider):
        if piece.own is not None:
            blocks.append(piece.own)
        elif piece.media is not None:
            blocks.append({"type": "text", "text": piece.media.left_out()})
        elif (call := piece.call) is not None:
            use = {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
            blocks.append(use | piece.extra)
        elif piece.text.strip():
            blocks.append({"type": "text", "text": piece.text, **piece.extra})
    return blocks


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    source = {"type": "base64", "media_type": part.mime_type, "data": part.data}
    if part.url:
        source = {"type": "url", "url": part.url}
    if part.kind == "image" and part.mime_type in WEB_IMAGES:
        return {"type": "image", "source": source}
    name = {"title": part.name} if part.name else {}
    if part.mime_type == "application/pdf":
        return {"type": "document", "source": source, **name}
    if part.mime_type == "text/plain" and part.data:
        text = part.decoded().decode("utf-8", "replace")
        source = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "source": source, **name}
    return {"type": "text", "text": part.left_out()}


def called_tools(messages: list[dict[str, Any]]) -> list[str]:
    """Return the names of the tools that were called in these messages."""
    blocks = (block for message in messages for block in message["content"])
    return sorted({block["name"] for block in blocks if block["type"] == "tool_use"})
