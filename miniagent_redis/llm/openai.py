"""Models of OpenAI, and of every server that speaks its chat completions: `openai:MODEL[@URL]`.

Where it is told to go elsewhere than to OpenAI, by the name or by OPENAI_BASE_URL, the key is what
that server is given; without one it gets none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Any

from attrs import define, field

from ..models import Message, Usage, new_id
from .base import Block, Finish, ModelEvent, ModelRequest, TextDelta
from .blocks import own_blocks
from .parts import Media, content_parts, content_text
from .provider import ProviderModel
from .sending import read_call, sendable

_ID = re.compile(r"[\x21-\x7e]{1,40}")
_REASONS = {"function_call": "tool_calls"}
_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
# What compatible servers add to a reply, and want back; OpenAI itself adds nothing.
_REASONING_TEXT = ("reasoning_content", "reasoning")
_REASONING_LIST = "reasoning_details"


class OpenAIModel(ProviderModel):
    """A model by its chat completions; ``options`` are those of ``chat.completions.create``."""

    provider = "openai"
    sdk = "openai"
    key_variables = ("OPENAI_API_KEY",)

    def _connect(self, sdk: Any, key: str | None) -> Any:
        return sdk.OpenAI(api_key=key, base_url=self._base_url)

    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        host = str(client.base_url.host)
        is_openai = host == "api.openai.com"
        provider = "openai" if is_openai else f"openai@{host}"
        params = dict(request.params)
        if is_openai and "max_tokens" in params:  # its newer models refuse the old name
            params["max_completion_tokens"] = params.pop("max_tokens")
        if request.tools:
            params["tools"] = [
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
        with client.chat.completions.create(
            model=self.model,
            messages=chat_messages(request, provider),
            stream=True,
            stream_options={"include_usage": True},
            timeout=request.timeout,
            **params | self.options,
        ) as chunks:
            yield from _events(chunks, provider)


def chat_messages(request: ModelRequest, provider: str) -> list[dict[str, Any]]:
    """Return the conversation as OpenAI's messages."""
    system = [{"role": "system", "content": request.system}] if request.system else []
    return system + [_message(message, provider) for message in sendable(request.messages, _ID)]


def _message(message: Message, provider: str) -> dict[str, Any]:
    match message.role:
        case "tool":
            return {
                "role": "tool",
                "tool_call_id": message.tool_call_id,
                "content": content_text(message.content),
            }
        case "assistant":
            return _reply(message, provider)
        case "system":
            return {"role": "system", "content": content_text(message.content)}
    parts = content_parts(message.content)
    if isinstance(message.content, str) or not any(isinstance(part, Media) for part in parts):
        return {"role": "user", "content": content_text(message.content)}
    return {"role": "user", "content": [_part(part) for part in parts]}


def _part(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.kind == "image":
        return {"type": "image_url", "image_url": {"url": part.data_url}}
    if part.kind == "audio" and part.data and part.mime_type in _AUDIO:
        audio = {"data": part.data, "format": _AUDIO[part.mime_type]}
        return {"type": "input_audio", "input_audio": audio}
    if part.kind == "file" and part.data:
        file = {"filename": part.name or "file", "file_data": part.data_url}
        return {"type": "file", "file": file}
    return {"type": "text", "text": part.left_out()}


def _reply(message: Message, provider: str) -> dict[str, Any]:
    out: dict[str, Any] = {"role": "assistant", "content": content_text(message.content) or None}
    added: dict[str, Any] = {}
    for data in own_blocks(message, provider):
        added |= data.get("calls", {})
        out |= data.get("message", {})
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


@define
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""
    added: dict[str, Any] = field(factory=dict)


def _events(chunks: Iterable[Any], provider: str) -> Iterator[ModelEvent]:
    calls: dict[int, _Call] = {}
    own: dict[str, Any] = {}
    usage: Any = None
    finish: str | None = None
    for chunk in chunks:
        usage = getattr(chunk, "usage", None) or usage
        for choice in (chunk.choices or ())[:1]:
            finish = choice.finish_reason or finish
            delta = choice.delta
            if delta is None:
                continue
            if text := delta.content or getattr(delta, "refusal", None):
                yield TextDelta(text)
            for piece in delta.tool_calls or ():
                _add_call(calls, piece)
            _add_reasoning(own, delta.model_extra or {})
    for call in calls.values():
        call.id = call.id or new_id()
        yield read_call(call.id, call.name, call.arguments)
    added = {call.id: call.added for call in calls.values() if call.added}
    if own or added:
        yield Block(provider, {"message": own, "calls": added})
    if usage is not None:
        details = getattr(usage, "prompt_tokens_details", None)
        yield Usage(
            usage.prompt_tokens or 0,
            usage.completion_tokens or 0,
            getattr(details, "cached_tokens", None) or 0,
        )
    if finish is not None:
        yield Finish("tool_calls" if calls and finish == "stop" else _REASONS.get(finish, finish))


def _add_call(calls: dict[int, _Call], piece: Any) -> None:
    # Some servers leave the index out, and send each call whole.
    index = len(calls) if piece.index is None else piece.index
    call = calls.setdefault(index, _Call())
    call.id = call.id or piece.id or ""
    call.added |= {key: value for key, value in (piece.model_extra or {}).items() if value}
    if piece.function is not None:
        call.name = call.name or piece.function.name or ""
        call.arguments += piece.function.arguments or ""


def _add_reasoning(own: dict[str, Any], extra: dict[str, Any]) -> None:
    for key in _REASONING_TEXT:
        if isinstance(text := extra.get(key), str) and text:
            own[key] = own.get(key, "") + text
    for detail in extra.get(_REASONING_LIST) or ():
        _add_detail(own.setdefault(_REASONING_LIST, []), detail)


def _add_detail(details: list[dict[str, Any]], new: dict[str, Any]) -> None:
    """Add a piece to the last of the details, if it goes on with it: same type and index."""
    last = details[-1] if details else {}
    place = ("type", "index")
    if new.get("index") is None or [last.get(key) for key in place] != [
        new.get(key) for key in place
    ]:
        details.append(dict(new))
        return
    for key, value in new.items():
        if key in ("text", "summary", "data") and isinstance(value, str):
            last[key] = (last.get(key) or "") + value
        elif value is not None:
            last[key] = value
