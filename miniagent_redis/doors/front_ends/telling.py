"""Turns told to chat pages, from stored events: on any instance the same."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from itertools import takewhile

from attrs import frozen

from ...errors import SessionNotFound
from ...models import Event, EventType, Message, Usage, WaitingCall
from ...models.event import turn_waiting
from ...models.waiting import ANSWERED
from ...runtime.pausing import OPEN
from ...session import SessionManager
from ...session.titling import title_of_text
from ..following import follow_turn
from ..openai.echo import ECHO, usage_of
from .agui import RunFold
from .ai_sdk import MessageFold
from .asked import Asked
from .fold import TurnFold
from .history import agui_messages, ui_messages
from .turns import Begun, PageTurns
from .wire import Json

Told = Iterator[Json | None]
"""What is sent; None while nothing happens, so that the reader may be told that it is alive."""
_MOST_EVENTS = 1000


@frozen
class Telling:
    """What is told to one user's pages. ``declared`` tells whether others run an agent's tool."""

    manager: SessionManager
    user_id: str
    declared: Callable[[str], bool]
    gate: AbstractContextManager[object] = OPEN
    """Held while events are read: one for all who follow in a process."""

    # --- AI SDK -------------------------------------------------------------------------------

    def message(self, begun: Begun) -> Told:
        """Yield the chunks of the message that a turn is."""
        state = self.manager.turn(begun.session_id, begun.turn_id, self.user_id)
        asked_with = [] if state.message is None else [state.message]
        folded = MessageFold(
            begun.turn_id,
            theirs=self._theirs([*asked_with, *state.steps]),
            answered=[one.tool_call_id or "" for one in state.steps if ANSWERED in one.metadata],
            usage=lambda: self._usage(begun, 0),
            **self._from(begun),
        )
        return self._told(folded, begun)

    def resume(self, session_id: str) -> Told | None:
        """Yield the message of the turn that is open, from its beginning; None if there is none."""
        try:
            found = self.manager.store.parts.open_turns.look(session_id, None, self.user_id)
        except SessionNotFound:
            return None
        return self.message(Begun(session_id, found.turn_id)) if found.is_open else None

    def messages(self, session_id: str, limit: int) -> Json:
        """Return a session for a page that opens it: ``id title messages``, the last ones.

        Raises SessionNotFound.
        """
        store = self.manager.store
        open_turn = store.parts.open_turns.look(session_id, None, self.user_id)
        thread = store.load_tail(session_id, limit, user_id=self.user_id).messages
        here = {one.id for one in thread}
        pending = [one for one in open_turn.staged if one.id not in here]
        found = ui_messages(session_id, thread, pending, open_turn.calls)
        return {"id": session_id, "title": self._title(session_id), "messages": found}

    # --- AG-UI --------------------------------------------------------------------------------

    def run(self, turns: PageTurns, asked: Asked, run_id: str, key: str = "") -> Told:
        """Do what a run is to do, and yield its events."""
        session_id = asked.session_id
        begun: Begun | None = None
        history: list[Json] | None = None
        if asked.answers or asked.approvals:
            begun = turns.answer(asked)
        if begun is not None:
            history = agui_messages([*self._before(begun), *begun.staged])
        elif asked.content is not None:
            begun = turns.begin(asked, key)
            if begun.is_joined and asked.is_answered:  # of which the page has a part
                history = [*self._up_to(begun), *asked.thoughts]
        else:
            return self._shown(session_id, run_id)
        return self._told(self._run(begun, run_id, history), begun)

    def _shown(self, session_id: str, run_id: str) -> Told:
        """Tell a page all that there is, and go on with the turn that is open."""
        try:
            found = self.manager.store.parts.open_turns.look(session_id, None, self.user_id)
        except SessionNotFound:
            yield from self._nothing(session_id, run_id, [])
            return
        if not found.is_open:
            yield from self._nothing(session_id, run_id, agui_messages(self._thread(session_id)))
            return
        begun = Begun(session_id, found.turn_id)
        yield from self._told(self._run(begun, run_id, self._up_to(begun)), begun)

    def _nothing(self, session_id: str, run_id: str, history: list[Json]) -> Iterator[Json]:
        folded = RunFold("", session_id, run_id, history=history)
        folded.at = self.manager.store.clock.time()
        yield from folded.show()

    def _run(self, begun: Begun, run_id: str, history: list[Json] | None) -> RunFold:
        return RunFold(
            begun.turn_id,
            begun.session_id,
            run_id,
            history=history,
            usage=lambda: self._usage(begun, begun.step),
            **self._from(begun),
        )

    def _up_to(self, begun: Begun) -> list[Json]:
        """Return what was said before a turn, and its message."""
        state = self.manager.turn(begun.session_id, begun.turn_id, self.user_id)
        said = [state.message] if state.message else []
        return agui_messages([*self._before(begun), *said])

    def _before(self, begun: Begun) -> Iterable[Message]:
        """Return the messages in front of a turn, which may be in the thread by now."""
        thread = self._thread(begun.session_id)
        return takewhile(lambda one: one.turn_id != begun.turn_id, thread)

    def _thread(self, session_id: str) -> Sequence[Message]:
        return self.manager.store.load_thread(session_id, user_id=self.user_id).messages

    # --- both ---------------------------------------------------------------------------------

    def _told(self, folded: TurnFold, begun: Begun) -> Told:
        session_id, turn_id = begun.session_id, begun.turn_id
        if begun.still:
            return self._waits_on(folded, begun)
        events = follow_turn(
            self.manager, session_id, turn_id, self.user_id, begun.after, self.gate
        )
        return self._all(folded, begun, events)

    def _all(
        self, folded: TurnFold, begun: Begun, events: Generator[Event | None, None, None]
    ) -> Told:
        with closing(events):
            for event in events:
                yield from folded.tell(event) if event is not None else [None]
                if folded.is_over:
                    return
                if event is None or event.type is EventType.TURN_WAITING:
                    calls = self._waiting(begun)
                    if calls and (event is None or _ids(calls) & _ids_in(event)):
                        if event is None:
                            yield from folded.tell(_waits(begun, calls))
                        yield from folded.park()
                        return
        lost = {"error": "TurnSuperseded"}  # it was gone back behind
        yield from folded.tell(Event(EventType.TURN_FAILED, begun.session_id, begun.turn_id, lost))

    def _waits_on(self, folded: TurnFold, begun: Begun) -> Told:
        """Tell what was answered of calls of which others wait on."""
        for event in self.manager.store.read_events(
            begun.session_id, begun.after, limit=_MOST_EVENTS, user_id=self.user_id
        ):
            yield from folded.tell(event)
        yield from folded.tell(_waits(begun, begun.still))
        yield from folded.park()

    def _waiting(self, begun: Begun) -> Sequence[WaitingCall]:
        parked = self.manager.store.parts.parking.parked(begun.session_id, user_id=self.user_id)
        return parked.calls if parked is not None and parked.turn_id == begun.turn_id else ()

    def _from(self, begun: Begun) -> Json:
        return {
            "behind": begun.behind,
            "step": begun.step,
            "asked": [call.to_dict() for call in begun.asked],
            "title": lambda: self._title_of(begun),
        }

    def _title(self, session_id: str) -> str | None:
        return self.manager.store.session_state(session_id, user_id=self.user_id).title

    def _title_of(self, begun: Begun) -> str | None:
        """Return the title; the usual one of a first exchange is written a moment later."""
        with suppress(SessionNotFound):
            title = self._title(begun.session_id)
            if title is None and self.manager.agent.config.title is True:
                state = self.manager.turn(begun.session_id, begun.turn_id, self.user_id)
                title = title_of_text(state.message.text) if state.message is not None else None
            return title or None
        return None

    def _usage(self, begun: Begun, step: int) -> Usage:
        with suppress(SessionNotFound):
            steps = self.manager.turn(begun.session_id, begun.turn_id, self.user_id).steps
            return usage_of([one for one in steps if one.role == "assistant"][step:])
        return Usage()

    def _theirs(self, messages: Sequence[Message]) -> Callable[[str], bool]:
        """Return what tells of a tool whether the page runs it, by what its requests said."""
        notes = [one.metadata.get(ECHO) for one in messages]
        notes += [one.metadata.get(ANSWERED, {}).get(ECHO) for one in messages]
        names = {tool["name"] for note in notes if note for tool in note.get("tools", ())}
        return lambda name: name in names or self.declared(name)


def _waits(begun: Begun, calls: Sequence[WaitingCall]) -> Event:
    kind, data = turn_waiting(calls)
    return Event(kind, begun.session_id, begun.turn_id, data)


def _ids(calls: Sequence[WaitingCall]) -> set[str]:
    return {call.id for call in calls}


def _ids_in(event: Event) -> set[str]:
    return {str(call.get("id")) for call in event.data.get("calls", ())}
