"""One reply of a model as each vendor and each kind of server sends it, in pieces or as a whole.

A CannedServer sends them, and the vendors' SDKs read them. What a reply is made of is Said; how it
is written is a Dialect, named by whose it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from attrs import frozen

from miniagent_redis.llm import Model
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.provider_replies import anthropic_block, openai_chunk

Call = tuple[str, str, dict[str, Any]]
INPUT, OUTPUT = 20, 7  # tokens of each reply


@frozen
class Said:
    """What a model replies: calls are id, name and arguments. It ``is_cut`` by the most tokens."""

    text: str = ""
    thought: str = ""
    calls: tuple[Call, ...] = ()
    is_cut: bool = False

    @property
    def pieces(self) -> tuple[str, ...]:
        """The text as it comes: in two pieces."""
        half = len(self.text) // 2
        return tuple(filter(None, (self.text[:half], self.text[half:])))


@frozen
class Dialect:
    """A way to write replies. ``whole`` writes one in one piece, if that can be asked for."""

    connect: Callable[..., Model]
    pieces: Callable[[Said], list[Any]]
    whole: Callable[[Said], Any] | None = None
    shows_thoughts: bool = True
    is_google: bool = False

    def replies(self, said: Said, *, is_whole: bool = False) -> list[Any]:
        """Return the events of a reply."""
        if not is_whole:
            return self.pieces(said)
        assert self.whole is not None
        return [json.dumps(self.whole(said)).encode()]


USAGE = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}


def _call(call: Call, **place: Any) -> dict[str, Any]:
    call_id, name, arguments = call
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": call_id, "type": "function", "function": function, **place}


def _in_fragments(call: Call, index: int) -> Iterator[dict[str, Any]]:
    """Yield a call as llama.cpp and OpenAI stream it: the beginning, then bits of its arguments."""
    whole = _call(call, index=index)
    text = whole["function"]["arguments"]
    begin = {**whole, "function": {**whole["function"], "arguments": ""}}
    yield openai_chunk({"tool_calls": [begin]})
    for bit in (text[:5], text[5:]):
        yield openai_chunk({"tool_calls": [{"index": index, "function": {"arguments": bit}}]})


def _finish(said: Said, cut: str = "length", calls: str = "tool_calls") -> str:
    return cut if said.is_cut else calls if said.calls else "stop"


def _fragments(said: Said, thought: str = "") -> list[Any]:
    """Write the chunks of chat completions; what is thought is a field named ``thought``."""
    chunks: list[Any] = [openai_chunk({"role": "assistant", "content": None})]
    if thought and said.thought:
        chunks.append(openai_chunk({thought: said.thought}))
    chunks += [openai_chunk({"content": piece}) for piece in said.pieces]
    for index, call in enumerate(said.calls):
        chunks += _in_fragments(call, index)
    usage = {"choices": [], "object": "chat.completion.chunk", "usage": USAGE}
    return [*chunks, openai_chunk({}, _finish(said)), usage, "[DONE]"]


def _mistral(said: Said) -> list[Any]:
    chunks = [openai_chunk({"role": "assistant", "content": ""})]
    if said.thought:
        inner = [{"type": "text", "text": said.thought}]
        chunks.append(openai_chunk({"content": [{"type": "thinking", "thinking": inner}]}))
    for piece in said.pieces:
        content = [{"type": "text", "text": piece}] if said.thought else piece
        chunks.append(openai_chunk({"content": content}))
    calls = [_call(call, index=index) for index, call in enumerate(said.calls)]
    last = openai_chunk({"content": "", **({"tool_calls": calls} if calls else {})})
    last["choices"][0]["finish_reason"] = _finish(said, cut="model_length")
    return [*chunks, last | {"usage": USAGE}, "[DONE]"]


def _vllm(said: Said) -> list[Any]:
    """Write an id for each piece of a call, and a name and null in all of them."""
    chunks = [openai_chunk({"role": "assistant", "content": ""}, logprobs=None)]
    if said.thought:
        chunks.append(openai_chunk({"reasoning": said.thought}))
    chunks += [openai_chunk({"content": piece, "tool_calls": None}) for piece in said.pieces]
    for index, call in enumerate(said.calls):
        whole = _call(call, index=index)
        text = whole["function"]["arguments"]
        for at, bit in enumerate((text[:5], text[5:])):
            function = {"name": None if at else call[1], "arguments": bit}
            piece = whole | {"id": f"{call[0]}{'x' * at}", "function": function}
            chunks.append(openai_chunk({"content": None, "tool_calls": [piece]}))
    end = openai_chunk({"content": ""}, _finish(said))
    return [*chunks, end, {"id": "c", "choices": [], "usage": USAGE}, "[DONE]"]


def _deepseek(said: Said) -> list[Any]:
    """Write signs of life between chunks, and the usage beside the last of them."""
    *chunks, end, _, done = _fragments(said, "reasoning_content")
    usage = {**USAGE, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": INPUT}
    alive = b": keep-alive\n\n"
    return [
        alive,
        *(part for chunk in chunks for part in (chunk, alive)),
        end | {"usage": usage},
        done,
    ]


def _lm_studio(said: Said) -> list[Any]:
    """Write thoughts between tags in the answer, calls whole and without a reason of their own."""
    tagged = f"<think>\n{said.thought}\n</think>\n\n" if said.thought else ""
    chunks = [openai_chunk({"content": piece}) for piece in (tagged, *said.pieces) if piece]
    for index, call in enumerate(said.calls):
        chunks.append(openai_chunk({"tool_calls": [_call(call, index=index)]}))
    return [*chunks, openai_chunk({}, _finish(said)) | {"usage": USAGE}, "[DONE]"]


def _ollama(said: Said) -> list[Any]:
    """Write each call as index 0 with the arguments whole, and "stop" though there are some."""
    chunks = []
    if said.thought:
        chunks.append(openai_chunk({"content": "", "reasoning": said.thought}))
    chunks += [openai_chunk({"content": piece}) for piece in said.pieces]
    for call in said.calls:
        chunks.append(openai_chunk({"content": "", "tool_calls": [_call(call, index=0)]}))
    end = openai_chunk({"content": ""}, _finish(said, calls="stop"))
    return [*chunks, end, {"id": "c", "choices": [], "usage": USAGE}, "[DONE]"]


def _message(said: Said, thought: str = "", *, as_objects: bool = False) -> dict[str, Any]:
    """Write a whole chat completion; arguments ``as_objects`` are TGI's and old llama.cpp's."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if thought and said.thought:
        message[thought] = said.thought
    if said.calls:
        message["tool_calls"] = [_call(call) for call in said.calls]
    if as_objects:
        for call, written in zip(said.calls, message.get("tool_calls", ()), strict=True):
            written["function"]["arguments"] = call[2]
    choice = {"index": 0, "message": message, "finish_reason": _finish(said)}
    return {"object": "chat.completion", "choices": [choice], "usage": USAGE}


def _tagged(said: Said) -> dict[str, Any]:
    tagged = f"<think>{said.thought}</think>" if said.thought else ""
    return _message(Said(tagged + said.text, calls=said.calls, is_cut=said.is_cut))


def _responses_whole(said: Said) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    if said.thought:
        summary = [{"type": "summary_text", "text": said.thought}]
        hidden = {"encrypted_content": "c2VjcmV0"}
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary, **hidden})
    if said.text:
        content = [{"type": "output_text", "text": said.text}]
        items.append({"type": "message", "id": "msg_1", "role": "assistant", "content": content})
    for call_id, name, arguments in said.calls:
        call = {"call_id": call_id, "name": name, "arguments": json.dumps(arguments)}
        items.append({"type": "function_call", "id": f"fc_{call_id}", **call})
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
    whole = {"object": "response", "output": items, "usage": usage, "error": None}
    if said.is_cut:
        return whole | {
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
        }
    return whole | {"status": "completed"}


def _responses(said: Said) -> list[Any]:
    whole = _responses_whole(said)
    events: list[Any] = [{"type": "response.created", "response": {"object": "response"}}]
    for place, item in enumerate(whole["output"]):
        at = {"output_index": place}
        begun = {**item, "content": [], "summary": [], "arguments": ""}
        events.append({"type": "response.output_item.added", "item": begun, **at})
        kind, bits = {
            "reasoning": ("response.reasoning_summary_text.delta", (said.thought,)),
            "message": ("response.output_text.delta", said.pieces),
            "function_call": ("response.function_call_arguments.delta", ("{",)),
        }[item["type"]]
        events += [{"type": kind, "delta": bit, **at} for bit in bits]
        events.append({"type": "response.output_item.done", "item": item, **at})
    return [*events, {"type": f"response.{whole['status']}", "response": whole}]


def _anthropic_blocks(said: Said) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each block as it ends, and the deltas that lead there."""
    if said.thought:
        deltas = [{"type": "thinking_delta", "thinking": said.thought}]
        deltas.append({"type": "signature_delta", "signature": "c2ln"})
        yield {"type": "thinking", "thinking": said.thought, "signature": "c2ln"}, deltas
    if said.text:
        texts = [{"type": "text_delta", "text": piece} for piece in said.pieces]
        yield {"type": "text", "text": said.text}, texts
    for call_id, name, arguments in said.calls:
        text = json.dumps(arguments)
        bits = [{"type": "input_json_delta", "partial_json": bit} for bit in (text[:5], text[5:])]
        yield {"type": "tool_use", "id": call_id, "name": name, "input": arguments}, bits


def _anthropic_whole(said: Said) -> dict[str, Any]:
    reason = "max_tokens" if said.is_cut else "tool_use" if said.calls else "end_turn"
    content = [block for block, _ in _anthropic_blocks(said)]
    usage = {"input_tokens": INPUT, "output_tokens": OUTPUT}
    about = {"id": "m", "type": "message", "role": "assistant"}
    return {**about, "content": content, "stop_reason": reason, "usage": usage}


_EMPTY = {"thinking": "", "signature": "", "text": "", "input": {}}


def _anthropic(said: Said) -> list[Any]:
    whole = _anthropic_whole(said)
    begun = whole | {"content": [], "stop_reason": None}
    events: list[Any] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(_anthropic_blocks(said)):
        events += anthropic_block(index, {k: _EMPTY.get(k, v) for k, v in block.items()}, *deltas)
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    end = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": OUTPUT}}
    return [*events, end, {"type": "message_stop"}]


def _gemini(said: Said) -> list[Any]:
    parts: list[dict[str, Any]] = []
    if said.thought:
        parts.append({"text": said.thought, "thought": True})
    parts += [{"text": piece} for piece in said.pieces]
    for call_id, name, arguments in said.calls:
        parts.append({"functionCall": {"id": call_id, "name": name, "args": arguments}})
    usage = {"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT}
    contents = [{"content": {"role": "model", "parts": [part]}} for part in parts]
    chunks = [{"candidates": [content]} for content in contents]
    reason = "MAX_TOKENS" if said.is_cut else "STOP"
    return [*chunks, {"candidates": [{"finishReason": reason}], "usageMetadata": usage}]


def _chat(model: str) -> Callable[..., Model]:
    def connect(url: str, **options: Any) -> Model:
        return OpenAIModel(model, base_url=url, api="chat", **options)

    return connect


def _chat_named(thought: str) -> Callable[[Said], dict[str, Any]]:
    return lambda said: _message(said, thought)


DIALECTS = {
    "openai chat": Dialect(_chat("gpt"), _fragments, _message, shows_thoughts=False),
    "openai responses": Dialect(
        lambda url, **options: OpenAIModel("gpt", base_url=url, api="responses", **options),
        _responses,
        _responses_whole,
    ),
    "anthropic": Dialect(
        lambda url, **options: AnthropicModel("claude", base_url=url, **options),
        _anthropic,
        _anthropic_whole,
    ),
    "gemini": Dialect(
        lambda url, **options: GeminiModel("gemini", base_url=url, **options),
        _gemini,
        is_google=True,
    ),
    "mistral": Dialect(_chat("magistral"), _mistral),
    "llama.cpp": Dialect(
        _chat("qwen"),
        lambda said: _fragments(said, "reasoning_content"),
        lambda said: _message(said, "reasoning_content", as_objects=True),
    ),
    "vllm": Dialect(_chat("qwen"), _vllm, _chat_named("reasoning")),
    "deepseek": Dialect(_chat("deepseek"), _deepseek, _chat_named("reasoning_content")),
    "lm studio": Dialect(_chat("qwen"), _lm_studio, _tagged),
    "ollama": Dialect(_chat("qwen"), _ollama, _chat_named("reasoning")),
}
