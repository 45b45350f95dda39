"""The events of a turn, for a reader at any instance: live, and again from what is stored."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager

from ..models import Event, EventType, TurnState
from ..runtime.pausing import OPEN, run_in_thread
from ..session import SessionManager
from .told import events_of

PING_AFTER = 15.0
"""Seconds of silence behind which a reader is told that there is none."""

_ENDS = (
    EventType.AGENT_RESPONSE,
    EventType.TURN_FAILED,
    EventType.SESSION_ENDED,
    EventType.SESSION_EXPIRED,
)


def follow_turn(
    manager: SessionManager,
    session_id: str,
    turn_id: str,
    user_id: str,
    after: str | None = None,
    gate: AbstractContextManager[object] = OPEN,
) -> Generator[Event | None, None, None]:
    """Yield the events of a turn until it is over; None when it was silent for PING_AFTER seconds.

    From its first event on, or behind the place ``after``. A turn whose events are not kept any
    more is told by its messages. While it waits for answers nothing comes. Each ``next`` blocks for
    so long at the most; the ``gate`` is held while it reads what has happened, and not while it
    waits. Raises SessionNotFound or StoreUnavailable.
    """
    store = manager.store
    look, watch = store.parts.open_turns.look, store.parts.watching.watch_in_steps
    place = after
    if place is None:
        found = look(session_id, turn_id, user_id)
        place = found.cursor
        if place is None and not found.is_open:
            yield from told_again(manager, session_id, turn_id, user_id)
            return
        if place is None:  # its first events are not kept any more
            yield from events_of(session_id, found.staged, is_over=False)
    while True:
        heard = None
        steps = watch(session_id, place, PING_AFTER, user_id=user_id, turn_id=turn_id)
        for event in run_in_thread(steps, store.clock, gate):
            heard = event
            place = event.id or place
            yield event
        if heard is not None and heard.type in _ENDS:
            return
        if not look(session_id, turn_id, user_id).is_open:
            yield from list(told_again(manager, session_id, turn_id, user_id))[-1:]
            return
        yield None


def told_again(
    manager: SessionManager, session_id: str, turn_id: str, user_id: str
) -> Iterator[Event]:
    """Yield what the stored messages of a turn tell; nothing if there are none."""
    return events_in(session_id, manager.turn(session_id, turn_id, user_id))


def events_in(session_id: str, state: TurnState) -> Iterator[Event]:
    """Yield what the messages of a turn tell whose state is at hand."""
    if state.message is None:
        return
    messages = [state.message, *state.steps]
    is_over = state.result is not None
    yield from events_of(session_id, messages, is_over=is_over, waiting=state.waiting)
