"""Counts of tokens as servers tell them: some leave out the half, or send text and fractions.

What is not told counts as 0. Servers that tell with each piece mean all so far, so the highest of
each counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from ...models import Usage


def whole(value: Any) -> int:
    """Return the count that is meant, 0 for what is none."""
    if isinstance(value, bool):
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return max(int(number), 0) if isfinite(number) else 0


def add_counts(counts: dict[str, int], told: Any) -> None:
    """Take the counts in ``told``, those in objects within it too; names are told once only."""
    if not isinstance(told, Mapping):
        return
    for name, value in told.items():
        if isinstance(value, Mapping):
            add_counts(counts, value)
        elif count := whole(value):
            counts[name] = max(counts.get(name, 0), count)


def _first(counts: Mapping[str, int], *names: str) -> int:
    return next((counts[name] for name in names if name in counts), 0)


def openai_usage(counts: Mapping[str, int]) -> Usage:
    """Return the usage by the names of OpenAI's two APIs, and of their imitators."""
    return Usage(
        _first(counts, "prompt_tokens", "input_tokens"),
        _first(counts, "completion_tokens", "output_tokens"),
        # DeepSeek's names, and Anthropic's, which gateways and Qwen leave as they are.
        cached_tokens=_first(
            counts, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
        ),
        cache_write_tokens=_first(
            counts, "cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens"
        ),
        reasoning_tokens=_first(counts, "reasoning_tokens"),
    )


def anthropic_usage(counts: Mapping[str, int]) -> Usage:
    """Return the usage by Anthropic's names, which counts cached input by itself."""
    cached = _first(counts, "cache_read_input_tokens")
    written = _first(counts, "cache_creation_input_tokens")
    return Usage(
        _first(counts, "input_tokens", "prompt_tokens") + written + cached,
        _first(counts, "output_tokens", "completion_tokens"),
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=_first(counts, "thinking_tokens"),
    )
