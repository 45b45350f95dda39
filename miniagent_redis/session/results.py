"""What a turn came to, for its caller."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from ..agent import TurnOutcome
from ..errors import InvalidInput
from ..models import Event, Message, TurnResult, UsageTotals, WaitingCall
from ..models.message import finish_reason_of
from ..store.parking import Parked
from ..store.waiting_calls import last_reply
from .accounting import Accounting
from .stored_turn import StoredTurn


def result_of(
    turn: StoredTurn, outcome: TurnOutcome, spent: UsageTotals, version: int | None
) -> TurnResult:
    """Return what a turn came to; without a ``version`` it is not stored yet."""
    return _result(
        turn.session_id,
        turn.turn_id,
        outcome.steps,
        outcome.text,
        spent,
        turn.open.thread.version if version is None else version,
        interrupted=bool(outcome.interrupted),
        persisted=version is not None,
        waiting=outcome.waiting,
        output=outcome.output,
    )


def _result(
    session_id: str,
    turn_id: str,
    steps: tuple[Message, ...],
    text: str,
    spent: UsageTotals,
    version: int,
    *,
    interrupted: bool = False,
    persisted: bool = True,
    waiting: tuple[WaitingCall, ...] = (),
    output: Any = None,
) -> TurnResult:
    return TurnResult(
        text,
        spent.usage,
        steps,
        turn_id,
        version,
        session_id,
        persisted,
        interrupted,
        cache_hits=spent.cache_hits,
        saved_seconds=spent.saved_seconds,
        saved_tokens=spent.saved_tokens,
        tool_calls=spent.tool_calls,
        seconds=spent.seconds,
        cost=None if spent.unpriced_turns else spent.cost,
        finish_reason="waiting" if waiting else finish_reason_of(steps[-1]),
        waiting=waiting,
        output=output,
    )


def found_again(
    session_id: str, messages: Sequence[Message], version: int, accounting: Accounting
) -> TurnResult:
    """Return what a stored turn came to, by its messages: the same as its caller was given."""
    message, *steps = messages
    answer = steps[-1]
    spent = accounting.of_outcome(steps, max(0.0, answer.created_at - message.created_at))
    return _result(
        session_id,
        message.turn_id or "",
        tuple(steps),
        answer.text,
        spent,
        version,
        interrupted="interrupted" in answer.metadata,
    )


def waiting_result(parked: Parked, accounting: Accounting) -> TurnResult:
    """Return what a turn has come to that others parked."""
    steps = parked.staged[1:]
    spent, text = accounting.of_outcome(steps, 0.0), last_reply(parked.staged).text
    session_id, turn_id, version = parked.session_id, parked.turn_id, parked.version
    return _result(session_id, turn_id, steps, text, spent, version, waiting=parked.calls)


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
