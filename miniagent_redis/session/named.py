"""Turns that a caller has named: joined while they run, found again when they are over.

A repetition begins nothing: the script that would begin the turn tells that it runs, or is stored.
Who joins it hears its stored events, as any watcher does, and reads its result from the thread.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from attrs import define

from ..errors import RateLimited, TurnSuperseded
from ..models import Event, EventType, Message, OpenTurn, TurnResult, TurnStands, TurnState
from ..models.event import Told, agent_response, turn_started, turn_step
from ..runtime.threads import make_room
from ..store.limits import Admission
from ..store.manager import RedisSessionManager
from ..store.open_turns import FoundTurn
from ..store.repeated import TurnRuns, TurnStored
from .asked import Asked
from .kept_threads import KeptThread
from .results import found_again
from .runner import TurnWork

_SOON = 0.05
"""Seconds behind the end of a lease at which somebody looks whether it was renewed."""


@define
class _Heard:
    """How far the reader of a turn that others work on has come."""

    after: str | None = None
    is_over: bool = False


class NamedTurns:
    """The named turns of one agent. Safe for threads."""

    def __init__(self, store: RedisSessionManager, work: TurnWork) -> None:
        self._store = store
        self._work = work
        self._open_turns = store.parts.open_turns

    def perform(self, asked: Asked, thread: KeptThread) -> Generator[Event, None, TurnResult]:
        """Do the turn, or join it, or find it: yield its events, return its result.

        Errors as of any turn; InvalidInput if the id was another message's.
        """
        heard = _Heard()
        while True:
            try:
                turn = self.begin(asked, thread)
                return (yield from self._work.perform(turn, thread))
            except TurnRuns as exc:
                yield from self._follow(exc, asked, heard)
            except TurnStored as exc:
                return (yield from self._tell_again(exc, asked, heard))
            except TurnSuperseded as exc:
                if exc.turn_id != asked.turn_id or not self._is_known(asked):
                    raise  # another message took its place

    def begin(self, asked: Asked, thread: KeptThread) -> OpenTurn:
        """Open the turn. Raises TurnRuns or TurnStored where it is a repetition."""
        admission = self._admit(asked)
        return self._work.begin(admission, thread, asked)

    def _admit(self, asked: Asked) -> Admission | None:
        """Count the request against the limits; a repetition passes them."""
        try:
            return self._work.admit(asked.session_id, asked.user_id)
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

    def _follow(self, runs: TurnRuns, asked: Asked, heard: _Heard) -> Iterator[Event]:
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
        make_room()
        patience = runs.lease_remaining + _SOON
        for event in self._store.watch(session_id, heard.after, patience, user_id=user_id):
            heard.after = event.id or heard.after
            if event.turn_id != turn_id:
                continue
            if event.type is EventType.TURN_FAILED:
                return
            heard.is_over = event.type is EventType.AGENT_RESPONSE
            yield event
            if heard.is_over:
                return

    def _tell_again(
        self, stored: TurnStored, asked: Asked, heard: _Heard
    ) -> Generator[Event, None, TurnResult]:
        """Yield what the reader has not heard of a turn that is over; return its result."""
        session_id, turn_id = asked.session_id, stored.turn_id
        messages = self._open_turns.stored(session_id, turn_id, asked.user_id)
        if not messages:
            stored.cause = "its messages were cleared, or let go of to make room"
            raise stored
        asked.must_be(messages)
        told = list(_told_again(messages, stored.version))
        if heard.after is not None:
            told = [] if heard.is_over else told[-1:]
        for (kind, data), message in told:
            yield Event(kind, session_id, turn_id, data, message.created_at)
        return self._result(session_id, messages, stored.version)

    def _result(self, session_id: str, messages: Sequence[Message], version: int) -> TurnResult:
        return found_again(session_id, messages, version, self._work.accounting)

    def state(self, session_id: str, turn_id: str, user_id: str | None) -> TurnState:
        """Tell how a turn stands: one round trip, and a look into the thread once it is over."""
        found = self._open_turns.look(session_id, turn_id, user_id)
        if found.is_open:
            message, *steps = found.staged
            said = [step.text for step in steps if step.role == "assistant"]
            state: TurnStands = "running"
            if found.is_waiting:
                state = "waiting"
            elif found.is_abandoned:
                state = "abandoned"
            return TurnState(turn_id, state, message, tuple(steps), "".join(said[-1:]))
        messages = self._stored(session_id, user_id, found)
        if not messages:
            return TurnState(turn_id, "unknown")
        result = self._result(session_id, messages, found.committed or found.version)
        over: TurnStands = "interrupted" if result.interrupted else "completed"
        return TurnState(turn_id, over, messages[0], result.steps, result.text, result)


def _told_again(messages: Sequence[Message], version: int) -> Iterator[tuple[Told, Message]]:
    """Yield what was told of a turn, with the message that it is about; text in one piece."""
    message, *steps, answer = messages
    yield turn_started(message, version - 1, resumed=False), message
    for step in steps:
        for told in turn_step(step):
            yield told, step
    yield agent_response(answer, version), answer
