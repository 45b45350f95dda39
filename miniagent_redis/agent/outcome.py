"""What a turn came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen

from ..errors import ModelError
from ..models import Message, WaitingCall
from .broken_off import failure_of
from .fitting import FittingAnswer


@frozen
class TurnOutcome:
    """A turn that came to its answer, or is parked.

    ``messages`` are not staged yet: commit them. ``steps`` are all messages after the user's, the
    answer last, those of an earlier holder of a resumed turn included.
    """

    messages: tuple[Message, ...]
    steps: tuple[Message, ...]
    text: str
    interrupted: str = ""
    """Why the answer is only the beginning of one, as ``Reply.interrupted``; else empty."""
    waiting: tuple[WaitingCall, ...] = ()
    """Calls that others have to answer: the turn is parked, with all of ``steps`` staged."""
    error: BaseException | None = None
    """What broke it off: to be raised when the turn is stored."""
    output: Any = None
    """The answer as data, if the turn's options ask for that."""


def outcome_of(
    steps: Sequence[Message],
    answer: Message,
    error: ModelError | None,
    fitting: FittingAnswer | None,
) -> TurnOutcome:
    """Return what a turn came to, by its steps and the answer behind them."""
    if fitting is not None:
        error = error or fitting.error
    if error is not None:
        answer = evolve(answer, metadata=answer.metadata | failure_of(error))
    everything = (*steps, answer)
    return TurnOutcome(
        messages=(answer,),
        interrupted=str(answer.metadata.get("interrupted", "")),
        error=error,
        steps=everything,
        text=answer.text,
        output=None if fitting is None else fitting.value,
    )
