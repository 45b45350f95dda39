"""The response object: what was asked for, as it was sent, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...models import Message, Usage

Json = dict[str, Any]

ECHO = "openai"
"""In the metadata of a user's message: the parameters of the request that sent it."""
SYSTEM = "system"
"""In these: its system and developer messages, which are not told again."""

_USUAL: Json = {
    "previous_response_id": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "reasoning": {"effort": None, "summary": None},
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
    "user": None,
    "conversation": None,
}
KEPT = frozenset({"model", "created_at", *_USUAL})
"""The parameters of a request that are told again in its response."""


def echo_of(message: Message | None) -> Json:
    """Return the parameters of the request that sent a user's message, or answered a call."""
    found = None if message is None else message.metadata.get(ECHO)
    return dict(found) if isinstance(found, Mapping) else {}


def response_object(
    response_id: str,
    echo: Json,
    *,
    status: str,
    output: Sequence[Json] = (),
    usage: Usage | None = None,
    error: Json | None = None,
    reason: str | None = None,
    created_at: float = 0.0,
    completed_at: float | None = None,
) -> Json:
    """Return the object of a response; ``reason`` is why it is incomplete."""
    asked = {name: value for name, value in echo.items() if name in KEPT and value is not None}
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(asked.pop("created_at", 0) or created_at),
        "completed_at": int(completed_at) if completed_at and status == "completed" else None,
        "status": status,
        "model": asked.pop("model", ""),
        **_USUAL,
        **asked,
        "output": list(output),
        "error": error,
        "incomplete_details": {"reason": reason} if reason else None,
        "usage": None if usage is None else usage_object(usage),
    }


def usage_object(usage: Usage) -> Json:
    """Return tokens as a response tells them."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def usage_of(steps: Sequence[Message]) -> Usage:
    """Return the tokens that steps took, by what is noted in them."""
    total = Usage()
    for step in steps:
        if step.role == "assistant":
            total += usage_in(step.metadata)
    return total


def usage_in(metadata: Mapping[str, Any]) -> Usage:
    """Return the tokens that are noted in an answer; none for one that came from the cache."""
    noted = metadata.get("usage")
    if not isinstance(noted, Mapping) or metadata.get("cached"):
        return Usage()
    return Usage(**{name: int(noted.get(name, 0)) for name in Usage.names()})
