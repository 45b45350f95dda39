"""What a turn came to, for its caller."""

from __future__ import annotations

from collections.abc import Generator

from ..agent import TurnOutcome
from ..errors import InvalidInput
from ..models import Event, TurnResult, UsageTotals
from .stored_turn import StoredTurn


def result_of(
    turn: StoredTurn, outcome: TurnOutcome, spent: UsageTotals, version: int | None
) -> TurnResult:
    """Return what a turn came to; without a ``version`` it is not stored yet."""
    return TurnResult(
        outcome.text,
        spent.usage,
        outcome.steps,
        turn.turn_id,
        turn.open.thread.version if version is None else version,
        turn.session_id,
        version is not None,
        bool(outcome.interrupted),
        cache_hits=spent.cache_hits,
        saved_seconds=spent.saved_seconds,
        saved_tokens=spent.saved_tokens,
        tool_calls=spent.tool_calls,
        seconds=spent.seconds,
        cost=None if spent.unpriced_turns else spent.cost,
    )


def to_its_end(turn: Generator[Event, None, TurnResult]) -> TurnResult:
    """Run the turn without looking at its events; return its result."""
    try:
        while True:
            next(turn)
    except StopIteration as stop:
        result: TurnResult | None = stop.value
    if result is None:
        raise InvalidInput(
            "the agent was shut down in the middle of the turn",
            hint="get_history() shows what there is of it, if anything was done",
        )
    return result
