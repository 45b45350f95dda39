"""Conversations as OpenAI's chat completions, and all who imitate them, take them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from ...models import Message
from ..base import ModelRequest
from ..output import is_strict, vendors_name
from .blocks import own_blocks
from .parts import WEB_IMAGES, Media, content_parts, content_text, result_text, shown_parts
from .sending import ANY_ID, SHORT_ID, START, sendable

AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_NO_ANSWER = "(no answer)"


def chat_messages(
    request: ModelRequest, provider: str, *, is_strict_id: bool | None = None
) -> list[dict[str, Any]]:
    """Return the conversation as OpenAI's messages.

    ``is_strict_id``: whether ids may have 40 characters at the most, as with OpenAI itself.
    """
    is_openai = provider == "openai"
    strict = is_openai if is_strict_id is None else is_strict_id
    system = [{"role": "system", "content": request.system}] if request.system else []
    stored = sendable(request.messages, provider, SHORT_ID if strict else ANY_ID)
    messages: list[dict[str, Any]] = list(system)
    for is_result, group in groupby(stored, lambda message: message.role == "tool"):
        some = list(group)
        messages += [_message(message, provider) for message in some]
        if is_result and (media := shown_parts(some)):
            messages.append(_shown(media, provider))
    return messages if is_openai else list(_in_turn(messages))


def chat_tools(request: ModelRequest) -> list[dict[str, Any]]:
    """Return the tools as the API takes them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in request.tools
    ]


def json_schema(request: ModelRequest) -> dict[str, Any] | None:
    """Return the form of the answer as OpenAI takes it: that of objects only."""
    output = request.output
    if output is None or output.schema.get("type") != "object":
        return None
    form: dict[str, Any] = {"name": vendors_name(output.name), "schema": output.schema}
    return form | {"strict": True} if is_strict(output.schema) else form


def _in_turn(messages: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the messages as the templates of many models want them, which other servers fill in.

    There is one system message, at the beginning (Qwen's, Gemma's, Mistral's); roles alternate, the
    user's first (DeepSeek's, Llama's, Mistral's); and an answer is behind results (Mistral's API).
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    if system:
        yield {"role": "system", "content": "\n\n".join(system)}
    last: dict[str, Any] | None = None
    for message in messages:
        role = message["role"]
        if role == "system":
            continue
        if last is None:
            if role != "user":
                yield {"role": "user", "content": START}
        elif last["role"] == role != "tool" and not last.get("tool_calls"):
            last = _joined(last, message)
            continue
        else:
            yield last
            if last["role"] == "tool" and role == "user":
                yield {"role": "assistant", "content": _NO_ANSWER}
        last = message
    if last is not None:
        yield last


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    contents = [message.get("content") or "" for message in (first, second)]
    if all(isinstance(content, str) for content in contents):
        content: Any = "\n\n".join(filter(None, contents)) or None
    else:
        content = [part for each in contents for part in _as_list(each)]
    return first | second | {"content": content}


def _as_list(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content)


def _shown(media: Sequence[Media], provider: str) -> dict[str, Any]:
    """Return what tools gave beside text, which their own messages cannot hold."""
    told = {"type": "text", "text": "[This is what the tools above gave beside text.]"}
    return {"role": "user", "content": [told, *(_part(part, provider) for part in media)]}


def _message(message: Message, provider: str) -> dict[str, Any]:
    match message.role:
        case "tool":
            return {
                "role": "tool",
                "tool_call_id": message.tool_call_id,
                "content": result_text(message),
            }
        case "assistant":
            return _reply(message, provider)
        case "system":
            return {"role": "system", "content": content_text(message.content)}
    parts = content_parts(message.content)
    if isinstance(message.content, str) or not any(isinstance(part, Media) for part in parts):
        return {"role": "user", "content": content_text(message.content)}
    return {"role": "user", "content": [_part(part, provider) for part in parts]}


def _part(part: str | Media, provider: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.kind == "image" and (part.mime_type in WEB_IMAGES or provider != "openai"):
        return {"type": "image_url", "image_url": {"url": part.data_url}}
    if part.kind == "audio" and part.data and part.mime_type in AUDIO:
        audio = {"data": part.data, "format": AUDIO[part.mime_type]}
        return {"type": "input_audio", "input_audio": audio}
    if part.kind == "file" and part.data:
        file = {"filename": part.name or "file", "file_data": part.data_url}
        return {"type": "file", "file": file}
    return {"type": "text", "text": part.left_out()}


def _reply(message: Message, provider: str) -> dict[str, Any]:
    text = content_text(message.content)
    out: dict[str, Any] = {"role": "assistant", "content": text or None}
    added: dict[str, Any] = {}
    for data in own_blocks(message, provider):
        added |= data.get("calls", {})
        out |= data.get("message", {})
        if thinking := data.get("thinking"):  # Mistral's
            out["content"] = [*thinking, *_as_list(text)]
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": json.dumps(call.arguments, ensure_ascii=False),
                },
                **added.get(call.id, {}),
            }
            for call in message.tool_calls
        ]
    return out
