"""What a turn came to, for its caller."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, TypeVar, cast

from attrs import evolve

from ..agent import TurnOptions, TurnOutcome
from ..errors import InvalidInput
from ..models import Event, Message, TurnResult, UsageTotals, WaitingCall
from ..models.message import finish_reason_of
from ..runtime.pausing import Pause
from ..store.parking import Parked
from ..store.waiting_calls import last_reply
from .accounting import Accounting
from .stored_turn import StoredTurn

R = TypeVar("R")


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


def with_output(result: TurnResult, options: TurnOptions) -> TurnResult:
    """Return a stored result with its answer as data, if that is asked for and it fits."""
    form = options.form
    if form is None or result.interrupted or not form.fits(result.text):
        return result
    return evolve(result, output=form.read(result.text))


def waiting_result(parked: Parked, accounting: Accounting) -> TurnResult:
    """Return what a turn has come to that others parked."""
    steps = parked.staged[1:]
    spent, text = accounting.of_outcome(steps, 0.0), last_reply(parked.staged).text
    session_id, turn_id, version = parked.session_id, parked.turn_id, parked.version
    return _result(session_id, turn_id, steps, text, spent, version, waiting=parked.calls)


def what_is_stored(outcome: TurnOutcome, *, persisted: bool) -> str:
    """Return what is said of a turn to who gets the error that ended it."""
    stands = "is stored" if persisted else "waits in the spool, and is stored once Redis is back"
    if outcome.interrupted:
        return f"What there is of the answer {stands}, marked as interrupted."
    return f"The answer {stands}."


Turn = Generator[Event | Pause, None, TurnResult]
"""A turn at work: what happens in it, and where it pauses, if it was told to."""


def to_its_end(turn: Generator[Any, None, TurnResult]) -> TurnResult:
    """Run the turn, which blocks, without looking at its events; return its result."""
    try:
        while True:
            next(turn)
    except StopIteration as end:
        return whole(end.value)


def only_pauses(steps: Generator[Event | Pause, None, R]) -> Generator[Pause, None, R]:
    """Run the steps without looking at events, and pause where they do; return their value."""
    try:
        while True:
            if isinstance(step := next(steps), Pause):
                yield step
    except StopIteration as end:
        value: R = end.value
        return value
    finally:
        steps.close()


def closable(turn: Turn) -> Turn:
    """Come to what the turn comes to; to nothing if another thread is closing it just now."""
    try:
        return (yield from turn)
    except ValueError as exc:
        if exc.__traceback__ is None or exc.__traceback__.tb_next is not None:
            raise  # it comes out of the turn
        return cast(TurnResult, None)  # as one that was closed


def whole(result: TurnResult | None) -> TurnResult:
    """Return the result of a turn; raises InvalidInput for that of one that was closed."""
    if result is None:
        raise InvalidInput(
            "the agent was shut down in the middle of the turn",
            hint="get_history() shows what there is of it, if anything was done",
        )
    return result
