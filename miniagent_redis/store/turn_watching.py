"""Watching one turn: from its first event to the one that ends it."""

from __future__ import annotations

from contextlib import closing
from typing import Protocol

from ..models import Event, EventType
from ..models.event import told_again
from ..runtime.durations import Duration
from ..runtime.pausing import Pause, Steps
from .events import Events, Place
from .keys import check_id
from .open_turns import OpenTurns

_ENDS = frozenset((EventType.AGENT_RESPONSE, EventType.TURN_FAILED))
_MAY_END = frozenset((EventType.HISTORY_CLEARED, EventType.GAP))
"""Events behind which nobody may tell that the turn is over."""


class Watch(Protocol):
    """How a session is watched, in steps."""

    def __call__(
        self,
        session_id: str,
        after: str | None = None,
        timeout: Duration | None = None,
        *,
        user_id: str | None = None,
    ) -> Steps[Event]: ...


class TurnWatching:
    """Watching single turns."""

    def __init__(self, events: Events, open_turns: OpenTurns) -> None:
        self._events = events
        self._open_turns = open_turns

    def watch_in_steps(
        self,
        watch: Watch,
        session_id: str,
        turn_id: str,
        after: str | None,
        timeout: Duration | None,
        user_id: str | None,
    ) -> Steps[Event]:
        """Yield the events of a turn, those of the session itself, and each pause.

        From its first event on, or behind the one with the id ``after``; of a turn that has not
        begun yet, when it does. Ends behind the event that ends it. Of a turn that is over and
        whose events are kept no more, it is told again by its messages, without ids.
        """
        place = None if after is None else Place.of(after)
        check_id(turn_id, "a turn id")
        found = self._open_turns.look(session_id, turn_id, user_id)
        if found.cursor is None and not found.is_open:
            if self._open_turns.may_be_stored(found):
                messages = self._open_turns.stored(session_id, turn_id, user_id)
                if messages:
                    version = found.committed or found.version
                    yield from told_again(session_id, messages, version)
                    return
            end = self._events.end(session_id, user_id)  # before one more look: it may begin now
            found = self._open_turns.look(session_id, turn_id, user_id)
            after = (found.cursor or end) if after is None else after
        if after is None:
            after = found.cursor or ""
        if place is not None and found.ended and place.number >= Place.of(found.ended).number:
            return
        with closing(watch(session_id, after, timeout, user_id=user_id)) as steps:
            for event in steps:
                if isinstance(event, Pause):
                    yield event
                elif event.turn_id in (turn_id, None):
                    yield event
                    if event.type in _ENDS and event.turn_id == turn_id:
                        return
                    if event.type in _MAY_END and self._is_over(session_id, turn_id, user_id):
                        return

    def _is_over(self, session_id: str, turn_id: str, user_id: str | None) -> bool:
        found = self._open_turns.look(session_id, turn_id, user_id)
        return not found.is_open and not found.ended and found.cursor is None
