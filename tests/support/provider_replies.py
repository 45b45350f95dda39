"""Replies as the vendors' servers send them, for a CannedServer."""

from __future__ import annotations

from typing import Any

from miniagent_redis.llm import ModelRequest
from miniagent_redis.models import Message
from tests.support.canned_server import CannedServer

HI = ModelRequest((Message("user", "Hi"),), timeout=10)
PROVIDERS = ["openai", "anthropic", "gemini"]


def name(provider: str, server: CannedServer) -> str:
    return f"{provider}:some-model@{server.url}"


def openai_chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def anthropic_block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def anthropic_reply(*blocks: list[Any], stop: str = "end_turn") -> list[Any]:
    usage = {"input_tokens": 10, "output_tokens": 1}
    usage |= {"cache_creation_input_tokens": 3, "cache_read_input_tokens": 5}
    told = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}}
    start = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage}
    return [
        {"type": "message_start", "message": start},
        {"type": "ping"},
        *(event for block in blocks for event in block),
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": told},
        {"type": "message_stop"},
    ]


def gemini_chunk(*parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    chunk: dict[str, Any] = {"candidates": [candidate]}
    if finish:
        candidate["finishReason"] = finish
        chunk["usageMetadata"] = {
            "promptTokenCount": 18,
            "cachedContentTokenCount": 5,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 3,
        }
    return chunk


def said(provider: str, *texts: str, finish: str = "") -> list[Any]:
    """Return the events of a reply that is only text, in pieces."""
    if provider == "openai":
        usage = {
            "prompt_tokens": 18,
            "completion_tokens": 7,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
        return [
            *(openai_chunk({"role": "assistant", "content": text}) for text in texts),
            openai_chunk({}, finish or "stop"),
            {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage},
            "[DONE]",
        ]
    if provider == "anthropic":
        deltas = ({"type": "text_delta", "text": text} for text in texts)
        block = anthropic_block(0, {"type": "text", "text": ""}, *deltas)
        return anthropic_reply(block, stop=finish or "end_turn")
    *first, last = texts or ("",)
    chunks = [gemini_chunk({"text": text}) for text in first]
    return [*chunks, gemini_chunk({"text": last}, finish=finish or "STOP")]


def begun(provider: str, text: str) -> list[Any]:
    """Return the first events of a reply, as far as its first text."""
    return {
        "openai": lambda: said(provider, text)[:1],
        "anthropic": lambda: said(provider, text)[:4],
        "gemini": lambda: [gemini_chunk({"text": text})],
    }[provider]()


def thought(provider: str) -> list[Any]:
    """Return the first events of a reply that begins with a thought, the last of them the next."""
    if provider == "openai":
        return [openai_chunk({"reasoning_content": "Hm. "})]
    if provider == "anthropic":
        delta = {"type": "thinking_delta", "thinking": "Hm. "}
        block = anthropic_block(0, {"type": "thinking", "thinking": "", "signature": ""}, delta)
        return anthropic_reply(block)[:4]
    return [gemini_chunk({"text": "Hm. ", "thought": True})]
