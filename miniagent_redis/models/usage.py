"""What turns took, added up."""

from __future__ import annotations

from attrs import frozen


@frozen
class UsageTotals:
    """What some turns took together.

    ``input_tokens`` include ``cached_tokens``, those that the provider had cached. ``cache_hits``
    are steps that our own cache answered, which saved ``saved_tokens`` and ``saved_seconds``.
    ``seconds`` is how long the turns took. ``cost`` is in USD, of the turns whose model has a
    price; ``unpriced_turns`` are those that cost something unknown. ``failed_turns`` came to no
    answer: they are not among ``turns``, but what is known of their tokens is counted.
    """

    turns: int = 0
    failed_turns: int = 0
    unpriced_turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    tool_calls: int = 0
    cache_hits: int = 0
    saved_tokens: int = 0
    saved_seconds: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens
