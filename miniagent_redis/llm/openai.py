"""Models of OpenAI, and of every server that speaks its chat completions: `openai:MODEL[@URL]`.

Where it is told to go elsewhere than to OpenAI, by the name or by OPENAI_BASE_URL, the key is what
that server is given; without one it gets none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from attrs import define, field

from ..models import Message, Usage, new_id
from .base import Block, Finish, ModelEvent, ModelRequest, TextDelta
from .calls import read_call
from .output import is_strict, told_in_words, vendors_name
from .providers.base import ProviderModel
from .providers.blocks import own_blocks
from .providers.faults import only_short_waits
from .providers.leaving import heed_leaving
from .providers.parts import WEB_IMAGES, Media, content_parts, content_text
from .providers.reasons import finish_of
from .providers.sending import ANY_ID, encodable, has_acted, sendable

__all__ = ["OpenAIModel"]

_HOST = "api.openai.com"
_ID = re.compile(r"[\x21-\x7e]{1,40}")
_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
# What compatible servers add to a reply, and want back; OpenAI itself adds nothing.
_REASONING_TEXT = ("reasoning_content", "reasoning")
_REASONING_LIST = "reasoning_details"


class OpenAIModel(ProviderModel):
    """A model by its chat completions; ``options`` are those of ``chat.completions.create``."""

    takes_output = True
    provider = "openai"
    sdk = "openai"
    key_variables: ClassVar[tuple[str, ...]] = ("OPENAI_API_KEY",)
    address_variable = "OPENAI_BASE_URL"

    def _connect(self, sdk: Any, key: str | None) -> Any:
        hooks = {"request": [heed_leaving], "response": [only_short_waits]}
        http = sdk.DefaultHttpxClient(event_hooks=hooks)
        return sdk.OpenAI(api_key=key, base_url=self._base_url, http_client=http)

    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        host = str(client.base_url.host)
        is_openai = host == _HOST or host.endswith("." + _HOST)
        provider = self.provider if is_openai else f"{self.provider}@{host}"
        params: dict[str, Any] = {"stream_options": {"include_usage": True}}
        params |= {"timeout": request.timeout, **request.params}
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
        form = _response_format(request)
        if form is None or not is_openai or "response_format" in self.options:
            request = told_in_words(request)  # also to servers that may not know what they are sent
        if form is not None:
            params["response_format"] = form
        messages = chat_messages(request, provider)
        params |= {**self.options, "model": self.model, "messages": messages, "stream": True}
        if not params.get("tools"):  # without any, no word of them is taken
            params.pop("tool_choice", None)
            params.pop("parallel_tool_calls", None)
        elif _is_forced(params.get("tool_choice")) and has_acted(request.messages):
            del params["tool_choice"]
        with client.chat.completions.create(**encodable(params)) as chunks:
            yield from _events(chunks, provider)


def _is_forced(choice: object) -> bool:
    """Whether the model has to call a tool: ``required``, a tool by name, or some of them."""
    if isinstance(choice, Mapping):
        allowed = choice.get("allowed_tools")
        return not isinstance(allowed, Mapping) or allowed.get("mode") == "required"
    return choice not in (None, "auto", "none")


def _response_format(request: ModelRequest) -> dict[str, Any] | None:
    """Return the form of the answer as the API takes it: that of objects only."""
    output = request.output
    if output is None or output.schema.get("type") != "object":
        return None
    form: dict[str, Any] = {"name": vendors_name(output.name), "schema": output.schema}
    if is_strict(output.schema):
        form["strict"] = True
    return {"type": "json_schema", "json_schema": form}


def chat_messages(request: ModelRequest, provider: str) -> list[dict[str, Any]]:
    """Return the conversation as OpenAI's messages."""
    system = [{"role": "system", "content": request.system}] if request.system else []
    messages = sendable(request.messages, provider, _ID if provider == "openai" else ANY_ID)
    return system + [_message(message, provider) for message in messages]


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
    return {"role": "user", "content": [_part(part, provider) for part in parts]}


def _part(part: str | Media, provider: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.kind == "image" and (part.mime_type in WEB_IMAGES or provider != "openai"):
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
    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""
    added: dict[str, Any] = field(factory=dict)


def _events(chunks: Iterable[Any], provider: str) -> Iterator[ModelEvent]:
    calls: list[_Call] = []
    own: dict[str, Any] = {}
    usage: Any = None
    finish: str | None = None
    for chunk in chunks:
        text = ""
        usage = getattr(chunk, "usage", None) or usage
        for choice in (chunk.choices or ())[:1]:
            finish = choice.finish_reason or finish
            delta = choice.delta
            if delta is None:
                continue
            text = delta.content or getattr(delta, "refusal", None) or ""
            for piece in delta.tool_calls or ():
                _add_call(calls, piece)
            _add_reasoning(own, delta.model_extra or {})
        yield TextDelta(text)
    for call in calls:
        call.id = call.id or new_id()
        yield read_call(call.id, call.name, call.arguments)
    added = {call.id: call.added for call in calls if call.added}
    if own or added:
        yield Block(provider, {"message": own, "calls": added})
    if usage is not None:
        yield _usage(usage)
    if finish is not None:
        end = finish_of(finish)
        yield Finish("tool_calls") if calls and end.reason == "stop" else end


def _usage(counted: Any) -> Usage:
    asked = getattr(counted, "prompt_tokens_details", None)
    answered = getattr(counted, "completion_tokens_details", None)
    return Usage(
        counted.prompt_tokens or 0,
        counted.completion_tokens or 0,
        cached_tokens=getattr(asked, "cached_tokens", None) or 0,
        cache_write_tokens=getattr(asked, "cache_write_tokens", None) or 0,
        reasoning_tokens=getattr(answered, "reasoning_tokens", None) or 0,
    )


def _add_call(calls: list[_Call], piece: Any) -> None:
    begun = [call for call in calls if call.index == piece.index is not None]
    call = begun[-1] if begun else None
    if call is None or _is_another(call, piece):
        call = _Call(piece.index)
        calls.append(call)
    call.id = call.id or piece.id or ""
    call.added |= {key: value for key, value in (piece.model_extra or {}).items() if value}
    if piece.function is not None:
        call.name = call.name or piece.function.name or ""
        given: Any = piece.function.arguments  # an object, from some servers
        call.arguments += given if isinstance(given, str) else json.dumps(given) if given else ""


def _is_another(call: _Call, piece: Any) -> bool:
    """Whether a call begins with this piece, though its index is that of ``call``.

    Google's server and others say 0 of each call, with ids or without, and send each call whole.
    """
    if piece.function is None or not piece.function.name:
        return False
    if call.id or piece.id:
        return bool(piece.id) and piece.id != call.id
    return bool(call.arguments)


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
