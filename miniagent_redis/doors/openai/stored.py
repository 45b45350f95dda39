"""Responses as they are stored: read as objects, and followed as streams, on any instance."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing

from attrs import frozen

from ...errors import SessionNotFound
from ...models import Event, EventType, Message, TurnState, Usage
from ...models.waiting import ANSWERED
from ...runtime.pausing import OPEN
from ...session import SessionManager
from ..following import events_in, follow_turn
from ..told import legs_of
from . import items
from .echo import ECHO, echo_of, response_object, usage_of
from .faults import not_found
from .ids import ResponseId
from .items import Json
from .responses import TERMINAL, ResponseFold, fold

_MOST_EVENTS = 1000
_DELETED = "openai_deleted"
"""In a session's data: tokens of the responses that were deleted."""


@frozen
class StoredResponses:
    """The responses of one user. All raise StoreUnavailable, and RequestRefused with 404."""

    manager: SessionManager
    user_id: str
    gate: AbstractContextManager[object] = OPEN
    """Held while events are read: one for all who follow in a process."""

    def retrieve(self, response: ResponseId) -> Json:
        """Return the object of a response, as far as it has come."""
        self._must_be_there(response)
        state = self.state(response)
        if state.state == "unknown":
            return self._failed(response)
        legs = len(legs_of(state.steps))
        if response.leg == legs and state.state in ("running", "abandoned"):
            return _begun(response, state)
        if response.leg >= legs:
            raise not_found("Response", response)
        return _object(response, state)

    def state(self, response: ResponseId) -> TurnState:
        """Tell how the turn stands of which a response is a part."""
        try:
            return self.manager.turn(response.session_id, response.turn_id, self.user_id)
        except SessionNotFound:
            raise not_found("Response", response) from None

    def _failed(self, response: ResponseId) -> Json:
        """Return a response of which nothing is stored but the events of its failure."""
        store, session_id = self.manager.store, response.session_id
        found = store.parts.open_turns.look(session_id, response.turn_id, self.user_id)
        if found.cursor is None:
            raise not_found("Response", response)
        events = store.read_events(
            session_id, found.cursor, limit=_MOST_EVENTS, user_id=self.user_id
        )
        made = fold(response, events)
        if made["status"] == "in_progress":
            raise not_found("Response", response)
        return made

    def input_items(self, response: ResponseId) -> list[Json]:
        """Return what a response answers: the user's message, or the outputs of the tools."""
        self._must_be_there(response)
        state = self.state(response)
        if state.message is None:
            raise not_found("Response", response)
        legs = legs_of(state.steps)
        if response.leg >= len(legs):
            raise not_found("Response", response)
        if response.leg == 0:
            return [items.user_message(response.item("msg_", "u"), state.message)]
        return items.outputs_in(response, legs[response.leg])

    # --- streams ------------------------------------------------------------------------------

    def follow(self, response: ResponseId, after: int | None = None) -> Iterator[Json | None]:
        """Yield the events of a response behind the number ``after``; None while it is silent.

        Each ``next`` blocks for PING_AFTER seconds at the most. Ends with the response.
        """
        folded = ResponseFold(response, self._echo(response), lambda: self._usage(response))
        events = self._events(response)
        with closing(events):
            for event in events:
                if event is None:
                    yield None
                    continue
                for told in folded.tell(event):
                    if after is None or told["sequence_number"] > after:
                        yield told
                    elif not event.id and folded.is_over and told["type"] in TERMINAL:
                        yield {**told, "sequence_number": after + 1}
                if folded.is_over:
                    return
        if after is None:  # nothing of it is known: it was dropped, and so were its events
            gone = {"error": "SessionNotFound", "message": ""}
            lost = Event(EventType.TURN_FAILED, response.session_id, response.turn_id, gone)
            yield from folded.tell(lost)

    def _events(self, response: ResponseId) -> Generator[Event | None, None, None]:
        try:
            yield from follow_turn(
                self.manager, response.session_id, response.turn_id, self.user_id, gate=self.gate
            )
        except SessionNotFound:
            raise not_found("Response", response) from None

    def _echo(self, response: ResponseId) -> Json | None:
        state = self.state(response)
        return None if state.message is None else _echo_in(response, state)

    def _usage(self, response: ResponseId) -> Usage:
        legs = legs_of(self.state(response).steps)
        return usage_of(legs[response.leg]) if response.leg < len(legs) else Usage()

    # --- deleting -----------------------------------------------------------------------------

    def delete(self, response: ResponseId) -> None:
        """Have a response be found no more. Its messages stay in the conversation."""
        self.retrieve(response)
        patch = {_DELETED: {response.token: True}}
        self.manager.store.patch_session(response.session_id, patch, user_id=self.user_id)

    def _must_be_there(self, response: ResponseId) -> None:
        data = self.manager.store.get_session(response.session_id, user_id=self.user_id)
        if data is None or response.token in data.get(_DELETED, {}):
            raise not_found("Response", response)


def _begun(response: ResponseId, state: TurnState) -> Json:
    """Return a leg of which nothing is stored yet: its calls were approved, and are being run."""
    return response_object(str(response), _echo_in(response, state), status="in_progress")


def _object(response: ResponseId, state: TurnState) -> Json:
    legs = legs_of(state.steps)
    usage = usage_of(legs[response.leg])
    echo = _echo_in(response, state)
    return fold(response, events_in(response.session_id, state), usage=lambda: usage, echo=echo)


def _echo_in(response: ResponseId, state: TurnState) -> Json:
    legs: Sequence[Sequence[Message]] = legs_of(state.steps)
    if 0 < response.leg < len(legs) and legs[response.leg]:
        noted = legs[response.leg][0].metadata.get(ANSWERED, {}).get(ECHO)
        if noted:
            return dict(noted)
    return echo_of(state.message)
