"""What the tests against llmock share: models by name, and what they said without ids."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from llmock.pytest_plugin import LLMock

PROVIDERS = ["openai", "anthropic", "gemini"]


def name(provider: str, mock: LLMock) -> str:
    version = "/v1beta" if provider == "gemini" else ""  # the one that llmock speaks
    return f"{provider}:some-model@{mock.base_url(provider)}{version}"


def neutral(history: list[dict[str, Any]]) -> list[Any]:
    """Return what was said, calls and results by their number; results in the order of calls."""
    calls = [call["id"] for message in history for call in message.get("tool_calls", ())]
    assert len(set(calls)) == len(calls)
    told = [
        (
            message["role"],
            message["content"],
            [
                (calls.index(call["id"]), call["name"], call["arguments"])
                for call in message.get("tool_calls", ())
            ],
            message.get("name"),
            calls.index(message["tool_call_id"]) if message["role"] == "tool" else None,
        )
        for message in history
    ]
    for index, (one, two) in enumerate(pairwise(told)):
        if one[0] == two[0] == "tool" and (one[4] or 0) > (two[4] or 0):
            told[index : index + 2] = [two, one]
    return told
