"""How a turn stands that somebody asks for by its id: open, over, or not known."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..models import Message, WaitingCall
from .core import StoreCore
from .events import Place
from .keys import check_id
from .message_records import MessageRecords
from .operations.open_turn import read_turn
from .resolving import REMEMBERED
from .threads import Threads
from .waiting_calls import waiting_calls

_MOST_EVENTS = 1000


@frozen
class FoundTurn:
    """What the server tells of a turn. ``staged`` are its messages so far, the user's first."""

    turn_id: str
    version: int
    """Of the session."""
    is_open: bool
    lease_left: float
    """Seconds, below 0 if it is over; of the turn that is open."""
    waits: str
    """The calls of the open turn that somebody else has to answer, or empty."""
    staged: tuple[Message, ...]
    committed: int
    """The version that the turn's commit made; 0 if the server does not remember it."""
    cursor: str | None
    """The place in front of the turn's first event; None if that is not kept."""
    ended: str
    """The id of the event that ended the turn, or empty."""

    @property
    def is_waiting(self) -> bool:
        """Whether it is open, and waits for somebody else's answers."""
        return self.is_open and self.waits != ""

    @property
    def calls(self) -> tuple[WaitingCall, ...]:
        """Those calls."""
        return waiting_calls(self.staged, self.waits.encode())

    @property
    def is_abandoned(self) -> bool:
        """Whether it is open, and nobody works on it."""
        return self.is_open and not self.is_waiting and self.lease_left <= 0


class OpenTurns:
    """Looking for turns by their id. Writes nothing."""

    def __init__(self, core: StoreCore, threads: Threads, records: MessageRecords) -> None:
        self._core = core
        self._threads = threads
        self._records = records

    def look(
        self, session_id: str, turn_id: str | None = None, user_id: str | None = None
    ) -> FoundTurn:
        """Tell how a turn stands, or the one that is open; one round trip.

        Raises SessionNotFound, RecordUnreadable or StoreUnavailable.
        """
        on = self._core.on(session_id, user_id)
        wanted = "" if turn_id is None else check_id(turn_id, "a turn id")
        found = read_turn(on, turn_id=wanted, events=_MOST_EVENTS if wanted else 0)
        open_turn = found.open_turn.decode()
        return FoundTurn(
            turn_id=wanted or open_turn,
            version=found.version,
            is_open=open_turn != "" and open_turn == (wanted or open_turn),
            lease_left=found.left_ms / 1000,
            waits=found.waits.decode(),
            staged=self._records.staged(session_id, found.staged),
            committed=found.committed,
            cursor=before(found.first.decode()) if found.first else None,
            ended=found.last.decode(),
        )

    def stored(
        self, session_id: str, turn_id: str, user_id: str | None = None
    ) -> Sequence[Message]:
        """Return a turn's messages from the thread, none if it is not there."""
        found, _ = self._threads.find(session_id, user_id, lambda one: one.turn_id == turn_id)
        return found

    def may_be_stored(self, found: FoundTurn) -> bool:
        """Whether a turn that is not open can be in the thread, as far as the server knows."""
        return not found.is_open and (found.committed > 0 or found.version >= REMEMBERED)


def before(event_id: str) -> str:
    """Return the place in front of an event: who watches from there on sees it first."""
    here = Place.of(event_id)
    return str(Place(here.ms, here.number - 1))
