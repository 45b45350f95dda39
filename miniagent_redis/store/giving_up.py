"""Turns that nobody can finish, because whoever works on them dies: they are given up."""

from __future__ import annotations

from ..models.event import failure
from .core import OnSession, StoreCore, log
from .operations.begin import Begun
from .operations.turn import abort_turn
from .shown_text import ShownText

MOST_TAKEOVERS = 3
"""How often a turn is taken over, whatever was staged meanwhile: where a tool kills its process,
the model may be told that the outcome is unknown and call it again, which looks like progress."""


class TurnGivenUp(Exception):
    """The name of what ends such a turn, in what is told and kept of it. Nobody raises it."""

    def __init__(self) -> None:
        times = f"{MOST_TAKEOVERS} times"
        super().__init__(f"it was taken over {times}, and whoever worked on it died or fell silent")


def must_be_given_up(begun: Begun) -> bool:
    """Tell whether the turn has been taken over too often to be worked on once more."""
    return begun.takeovers > MOST_TAKEOVERS


def is_untouched(begun: Begun, on: OnSession, shown: ShownText) -> bool:
    """Tell whether nothing was done in the turn: no message behind the user's, and no text told."""
    return len(begun.staged) < 2 and not shown.of(on.session_id, begun.turn_id.decode())


def give_up(core: StoreCore, on: OnSession, begun: Begun, holder: str) -> None:
    """Drop the turn that ``holder`` has just taken over, and tell watchers and the log why."""
    turn_id, told = begun.turn_id.decode(), failure(TurnGivenUp())
    why = core.format.encode(told, core.where("event", on.session_id))
    abort_turn(on, turn_id=turn_id, holder=holder, why=why, counts="")
    log.warning("turn %s of session %r was dropped: %s", turn_id, on.session_id, told["message"])
