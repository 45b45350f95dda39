"""Turns that a caller has named: joined while they run, found again when they are over.

A repetition begins nothing: the script that would begin the turn tells that it runs, or is stored.
Who joins it hears its stored events, as any watcher does, and reads its result from the thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress

from attrs import frozen

from ..errors import (
    InvalidInput,
    MiniAgentError,
    RateLimited,
    SessionBusy,
    SessionNotFound,
    SessionWaiting,
    TurnSuperseded,
)
from ..models import Event, EventType, Message, OpenTurn, TurnResult, TurnStands, TurnState
from ..models.event import told_again, turn_waiting
from ..runtime.pausing import Pause, at_once
from ..runtime.threads import make_room
from ..store.limits import Admission
from ..store.manager import RedisSessionManager
from ..store.open_turns import FoundTurn
from ..store.repeated import TurnRuns, TurnStored
from .accounting import take_back
from .asked import Asked
from .heard import Heard
from .kept_threads import KeptThread
from .results import Turn, found_again, waiting_result, with_output
from .runner import TurnWork

_SOON = 0.05
"""Seconds behind the end of a lease at which somebody looks whether it was renewed."""
_BEGAN_NOTHING = (SessionBusy, SessionNotFound, SessionWaiting, InvalidInput)
"""What a request meets that is refused, or repeats a turn: it is counted no more."""


@frozen
class Opened:
    """A turn that was begun before anybody works on it, and how it was admitted."""

    turn: OpenTurn
    admission: Admission | None


class NamedTurns:
    """All turns of one agent, as each may repeat a named one. Safe for threads."""

    def __init__(self, store: RedisSessionManager, work: TurnWork) -> None:
        self._store = store
        self._work = work
        self._open_turns = store.parts.open_turns
        self._recovery = store.parts.recovery

    def perform(
        self,
        asked: Asked,
        thread: KeptThread,
        opened: Opened | None = None,
        work: Callable[[OpenTurn], Turn] | None = None,
    ) -> Turn:
        """Do the turn, or join it, or find it: yield its events, return its result.

        Errors as of any turn; InvalidInput if the id was another message's. ``opened`` is what
        ``begin_at_once`` gave. ``work`` does the work of the open turn, if not this thread.
        """
        heard = Heard()
        while True:
            try:
                first, opened = opened, None
                turn = yield from self.begin(asked, thread, first)
                if work is not None:
                    performance = work(turn)
                else:
                    performance = self._work.perform(turn, thread, asked.pauses, asked.options)
                return (yield from heard.noting(performance))
            except TurnRuns as exc:
                yield from self._follow(exc, asked, heard)
            except SessionWaiting as exc:
                if exc.turn_id != asked.turn_id:
                    raise
                return (yield from self._tell_waiting(asked, heard))
            except TurnStored as exc:
                return (yield from self._tell_again(exc, asked, heard))
            except TurnSuperseded as exc:
                if exc.turn_id != asked.turn_id or not self._is_known(asked):
                    raise  # another message took its place

    def begin(
        self, asked: Asked, thread: KeptThread, opened: Opened | None = None
    ) -> Generator[Pause, None, OpenTurn]:
        """Open the turn. Raises TurnRuns or TurnStored where it is a repetition."""
        admission = opened.admission if opened else self._admit(asked)
        try:
            first = opened.turn if opened else None
            turn = yield from self._work.begin(thread, asked, first)
        except _BEGAN_NOTHING:
            take_back(admission)
            raise
        if opened is None:
            self._ask_recovery(asked)
        if turn.resumed:  # it was counted when it was begun
            take_back(admission)
        return turn

    def begin_at_once(self, asked: Asked, thread: KeptThread) -> Opened:
        """Open the turn, or an abandoned one that comes first; raise SessionBusy if that waits."""
        admission = self._admit(asked)
        try:
            opened = Opened(at_once(self._work.open(thread, asked)), admission)
        except _BEGAN_NOTHING:
            take_back(admission)
            raise
        self._ask_recovery(asked)
        return opened

    def _ask_recovery(self, asked: Asked) -> None:
        """Have the turn finished if this process dies; once it is open, as a stranger's is not.

        Who dies just before this leaves it to the session's next message.
        """
        if asked.is_kept:
            with suppress(MiniAgentError):  # it is begun, which is what counts
                self._recovery.ask(asked.session_id)

    def cursor(self, asked: Asked, turn_id: str) -> str:
        """Return the place in front of a turn's first event; "" if that is not kept."""
        found = self._open_turns.look(asked.session_id, turn_id, asked.user_id)
        asked.must_be(found.staged)
        return found.cursor or ""

    def must_be(self, asked: Asked) -> None:
        """Raise InvalidInput if the stored turn is of another message."""
        stored = self._open_turns.stored
        asked.must_be(stored(asked.session_id, asked.turn_id or "", asked.user_id))

    def _admit(self, asked: Asked) -> Admission | None:
        """Count the request against the limits; a repetition passes them."""
        try:
            return self._work.accounting.admit(asked.session_id, asked.user_id)
        except RateLimited:
            if asked.turn_id is None or asked.is_new or not self._is_known(asked):
                raise
            return None

    def _is_known(self, asked: Asked) -> bool:
        """Whether the turn is open or stored."""
        found = self._open_turns.look(asked.session_id, asked.turn_id, asked.user_id)
        return found.is_open or bool(self._stored(asked.session_id, asked.user_id, found))

    def _stored(self, session_id: str, user_id: str | None, found: FoundTurn) -> Sequence[Message]:
        if not self._open_turns.may_be_stored(found):
            return ()
        return self._open_turns.stored(session_id, found.turn_id, user_id)

    def _follow(
        self, runs: TurnRuns, asked: Asked, heard: Heard
    ) -> Generator[Event | Pause, None, None]:
        """Yield the events of the turn while others work on it; end when it is over, or abandoned.

        Or when nothing happens for as long as its lease is, as by now somebody else may have to
        take it over.
        """
        session_id, turn_id, user_id = asked.session_id, runs.turn_id, asked.user_id
        found = self._open_turns.look(session_id, turn_id, user_id)
        if not found.is_open:
            return
        asked.must_be(found.staged)
        if heard.after is None:
            heard.after = found.cursor or ""
        yield from self._hear(asked, turn_id, heard, runs.lease_remaining + _SOON)

    def _hear(
        self, asked: Asked, turn_id: str, heard: Heard, patience: float
    ) -> Generator[Event | Pause, None, None]:
        """Yield the turn's stored events behind what was heard, until it ends or nothing comes."""
        session_id, user_id = asked.session_id, asked.user_id
        watching = self._store.parts.watching
        steps: Iterator[Event | Pause]
        if asked.pauses:
            steps = watching.watch_in_steps(session_id, heard.after, patience, user_id=user_id)
        else:
            make_room()
            steps = watching.watch(session_id, heard.after, patience, user_id=user_id)
        for event in steps:
            if isinstance(event, Pause):
                yield event
                continue
            heard.after = event.id or heard.after
            if event.turn_id != turn_id or (new := heard.new_of(event)) is None:
                continue
            if event.type is EventType.TURN_FAILED:
                return
            heard.is_over = event.type in (EventType.AGENT_RESPONSE, EventType.TURN_WAITING)
            yield new
            if heard.is_over:
                return

    def _tell_waiting(self, asked: Asked, heard: Heard) -> Generator[Event, None, TurnResult]:
        """Yield what the reader has not heard of a turn that is parked; return what it has."""
        parked = self._store.parts.parking.parked(asked.session_id, user_id=asked.user_id)
        if parked is None or parked.turn_id != asked.turn_id:
            raise TurnSuperseded(asked.session_id, asked.turn_id or "")  # it was answered just now
        asked.must_be(parked.staged)
        result = waiting_result(parked, self._work.accounting)
        if not heard.is_over:
            kind, data = turn_waiting(result.waiting)
            now = self._store.clock.time()
            yield Event(kind, asked.session_id, asked.turn_id, data, now)
        return result

    def _tell_again(
        self, stored: TurnStored, asked: Asked, heard: Heard
    ) -> Generator[Event | Pause, None, TurnResult]:
        """Yield what the reader has not heard of a turn that is over; return its result."""
        session_id, turn_id = asked.session_id, stored.turn_id
        messages = self._open_turns.stored(session_id, turn_id, asked.user_id)
        if not messages:
            stored.cause = "its messages were cleared, or let go of to make room"
            raise stored
        asked.must_be(messages)
        told = told_again(session_id, messages, stored.version)
        if heard.after is not None:
            if not heard.is_over:
                yield from self._hear(asked, turn_id, heard, 0.0)
            told = [] if heard.is_over else told[-1:]
        yield from told
        result = self._result(session_id, messages, stored.version)
        return with_output(result, asked.options)

    def _result(self, session_id: str, messages: Sequence[Message], version: int) -> TurnResult:
        return found_again(session_id, messages, version, self._work.accounting)

    def state(self, session_id: str, turn_id: str, user_id: str | None) -> TurnState:
        """Tell how a turn stands: one round trip, and a look into the thread once it is over."""
        found = self._open_turns.look(session_id, turn_id, user_id)
        if found.is_open:
            message = next(iter(found.staged), None)  # None if its records were lost
            steps = found.staged[1:]
            said = [step.text for step in steps if step.role == "assistant"]
            state: TurnStands = "running"
            if found.is_waiting:
                state = "waiting"
            elif found.is_abandoned:
                state = "abandoned"
            return TurnState(
                turn_id, state, message, tuple(steps), "".join(said[-1:]), waiting=found.calls
            )
        messages = self._stored(session_id, user_id, found)
        if not messages:
            return TurnState(turn_id, "unknown")
        result = self._result(session_id, messages, found.committed or found.version)
        over: TurnStands = "interrupted" if result.interrupted else "completed"
        return TurnState(turn_id, over, messages[0], result.steps, result.text, result)
