"""What the steps of a turn took, as their metadata tells: so a resumed turn counts whole."""

from __future__ import annotations

from collections.abc import Iterable

from ..models import Message, Price, Usage, UsageTotals


def spent_on(
    steps: Iterable[Message],
    *,
    beside: Usage | None = None,
    price: Price | None = None,
    turns: int = 0,
    failed_turns: int = 0,
    seconds: float = 0.0,
) -> UsageTotals:
    """Add up the tokens, their cost, the tool calls, and what our cache saved.

    ``beside`` are tokens that are in none of the steps. Without a ``price`` tokens cost something
    unknown. The rest is told as it is given.
    """
    tokens = {} if beside is None else beside.to_dict()
    tool_calls = cache_hits = saved_tokens = 0
    saved_seconds = 0.0
    for message in steps:
        tool_calls += len(message.tool_calls)
        metadata = message.metadata
        for kind, count in (metadata.get("usage") or {}).items():
            tokens[kind] = tokens.get(kind, 0) + count
        if metadata.get("cached"):
            cache_hits += 1
            saved_tokens += int(metadata.get("saved_tokens", 0))
            saved_seconds += float(metadata.get("saved_seconds", 0))
    usage = Usage.from_dict(tokens)
    return UsageTotals(
        **usage.to_dict(),
        turns=turns,
        failed_turns=failed_turns,
        unpriced_turns=int(price is None and usage.total_tokens > 0),
        tool_calls=tool_calls,
        cache_hits=cache_hits,
        saved_tokens=saved_tokens,
        saved_seconds=saved_seconds,
        seconds=seconds,
        cost=0.0 if price is None else price.cost(usage),
    )
