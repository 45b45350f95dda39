"""Models of Anthropic by its messages: `anthropic:MODEL[@URL]`."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, ClassVar

from attrs import define

from ..models import Message, Usage
from .base import ModelEvent, ModelRequest, TextDelta, UnreadCall
from .calls import read_call
from .output import told_in_words
from .providers.base import NO_KEY, ProviderModel
from .providers.blocks import Layout, pieces
from .providers.faults import only_short_waits
from .providers.leaving import heed_leaving
from .providers.parts import WEB_IMAGES, Media, content_parts, content_text
from .providers.reasons import finish_of
from .providers.sending import START, encodable, has_acted, sendable

__all__ = ["AnthropicModel"]

MAX_TOKENS = 8192  # the API wants a number; models still offered can give at least so many
_HOST = "api.anthropic.com"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class AnthropicModel(ProviderModel):
    """A model by Anthropic's messages; ``options`` are those of ``messages.create``."""

    takes_output = True
    provider = "anthropic"
    sdk = "anthropic"
    key_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_API_KEY",)
    secret_variables: ClassVar[tuple[str, ...]] = ("ANTHROPIC_AUTH_TOKEN",)

    def _connect(self, sdk: Any, key: str | None) -> Any:
        if key == NO_KEY and os.environ.get("ANTHROPIC_AUTH_TOKEN"):
            key = None  # then the SDK sends the token
        hooks = {"request": [heed_leaving], "response": [only_short_waits]}
        http = sdk.DefaultHttpxClient(event_hooks=hooks)
        client = sdk.Anthropic(api_key=key, base_url=self._base_url, http_client=http)
        ways = (getattr(client, way, None) for way in ("api_key", "auth_token", "credentials"))
        if not any(ways):
            raise self._no_key()
        return client

    def _answer(self, client: Any, request: ModelRequest) -> Generator[ModelEvent]:
        host = client.base_url.host  # whose signatures others do not know
        provider = self.provider if host == _HOST else f"{self.provider}@{host}"
        system, messages = anthropic_messages(told_in_words(request), provider)
        params: dict[str, Any] = {"max_tokens": MAX_TOKENS, "timeout": request.timeout}
        params |= request.params
        options = dict(self.options)
        if "temperature" in params:  # the API takes it for many models, the SDK has no name for it
            body = {"temperature": params.pop("temperature")}
            options["extra_body"] = body | dict(options.get("extra_body") or {})
        if system:
            params["system"] = system
        tools = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        if not tools and (names := _called(messages)):
            # A conversation with calls must say which tools there are, also when there are none.
            tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
            options |= {"tool_choice": {"type": "none"}} if not options.get("tools") else {}
        if tools:
            params["tools"] = tools
        params |= {**options, "model": self.model, "messages": messages, "stream": True}
        if not params.get("tools"):  # without any, no word of them is taken
            params.pop("tool_choice", None)
        elif (choice := _forced(params.get("tool_choice"))) and has_acted(request.messages):
            kept = {name: value for name, value in choice.items() if name != "name"}
            params["tool_choice"] = kept | {"type": "auto"}
        with client.messages.create(**encodable(params)) as events:
            yield from _events(events, provider)


def _forced(choice: Any) -> Mapping[str, Any]:
    """Return the choice if by it the model has to call a tool, else nothing."""
    is_forced = isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")
    return choice if is_forced else {}


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
        result = {
            "type": "tool_result",
            "tool_use_id": message.tool_call_id,
            "content": content_text(message.content),
        }
        return [result | {"is_error": True} if message.metadata.get("is_error") else result]
    blocks: list[dict[str, Any]] = []
    for piece in pieces(message, provider):
        if piece.own is not None:
            blocks.append(piece.own)
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


def _called(messages: list[dict[str, Any]]) -> list[str]:
    blocks = (block for message in messages for block in message["content"])
    return sorted({block["name"] for block in blocks if block["type"] == "tool_use"})


@define
class _Open:
    """A content block that is still coming in."""

    block: dict[str, Any]
    json: str = ""


def _events(events: Iterable[Any], provider: str) -> Iterator[ModelEvent]:
    layout = Layout(provider)
    counts: dict[str, int] = {}
    told = Usage()
    blocks: dict[int, _Open] = {}
    reason: str | None = None
    said = ""
    is_over = False
    for event in events:
        text = ""
        match event.type:
            case "message_start":
                counts |= _counts(event.message.usage)
                told = _usage(counts)
                yield told  # what was asked is paid for, whatever becomes of the answer
            case "content_block_start":
                blocks[event.index] = _Open(event.content_block.to_dict())
                text = getattr(event.content_block, "text", None) or ""
            case "content_block_delta":
                _add(blocks[event.index], event.delta)
                if event.delta.type == "text_delta":
                    text = event.delta.text
            case "content_block_stop":
                yield from _finished(blocks.pop(event.index), layout)
            case "message_delta":
                counts |= _counts(event.usage)
                reason = event.delta.stop_reason or reason
                said = getattr(getattr(event.delta, "stop_details", None), "explanation", "") or ""
            case "message_stop":
                is_over = True
        yield TextDelta(text)
    for block in blocks.values():  # that nobody closed
        yield from _finished(block, layout)
    if is_over and reason is not None:
        yield from layout.blocks()
        yield _usage(counts) - told
        yield finish_of(reason, said)


def _add(open_block: _Open, delta: Any) -> None:
    block = open_block.block
    match delta.type:
        case "text_delta":
            block["text"] = block.get("text", "") + delta.text
        case "input_json_delta":
            open_block.json += delta.partial_json
        case "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta.thinking
        case "signature_delta":
            block["signature"] = delta.signature
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta.citation.to_dict()]


def _finished(open_block: _Open, layout: Layout) -> Iterator[ModelEvent]:
    block = open_block.block
    match block["type"]:
        case "text":
            layout.text(block["text"], **_added(block, "text"))
        case "tool_use":
            # Some servers send it in one piece.
            call = read_call(block["id"], block["name"], open_block.json or block.get("input"))
            layout.call(call.id, **_added(block, "id", "name", "input"))
            yield call
        case _:
            if open_block.json:
                call = read_call("", block.get("name", ""), open_block.json)
                if isinstance(call, UnreadCall):
                    return  # a tool of its own, cut off: it would not take it back
                block["input"] = call.arguments
            layout.own(block)


def _added(block: dict[str, Any], *stored: str) -> dict[str, Any]:
    """Return what the vendor says of a block beside what is stored anyway, like citations."""
    return {key: value for key, value in block.items() if value and key not in ("type", *stored)}


def _counts(usage: Any) -> dict[str, int]:
    """Return the counts that are there; those in later events take the place of earlier ones."""
    counted = usage.to_dict()
    counted |= counted.get("output_tokens_details") or {}
    return {key: count for key, count in counted.items() if isinstance(count, int)}


def _usage(counts: dict[str, int]) -> Usage:
    cached = counts.get("cache_read_input_tokens", 0)
    written = counts.get("cache_creation_input_tokens", 0)
    return Usage(
        counts.get("input_tokens", 0) + written + cached,  # the API counts each by itself
        counts.get("output_tokens", 0),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=counts.get("thinking_tokens", 0),
    )
