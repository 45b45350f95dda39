"""Conversations: sessions of a user as objects, and what was said in them as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from ...errors import SessionNotFound
from ...models import Message
from ...session import SessionManager
from ..told import events_of, legs_of
from .checks import metadata_in, object_of, refuse
from .faults import not_found
from .given import input_items
from .ids import ItemId, ResponseId, conversation_id, new_name
from .items import Json, function_call, function_output, outputs_in, user_message
from .items import message as message_item
from .responses import fold

_METADATA = "openai_metadata"
MOST = 100
"""Items of one page."""


@frozen
class Conversations:
    """The conversations of one user. All raise StoreUnavailable, and RequestRefused with 404."""

    manager: SessionManager
    user_id: str

    def create(self, body: object) -> Json:
        """Make a conversation, with metadata and first items if there are some."""
        data = object_of(body, "body")
        metadata = metadata_in(data)
        given = input_items(data.get("items") or [], self.item)
        session_id = f"c{new_name()}"
        self.manager.store.create_session(
            session_id,
            {_METADATA: metadata},
            user_id=self.user_id,
            agent_name=self.manager.agent.config.name,
        )
        if given.steps:
            self.manager.store.append_to_thread(session_id, given.steps, user_id=self.user_id)
        return self.get(session_id)

    def get(self, session_id: str) -> Json:
        """Return the object of a conversation."""
        try:
            state = self.manager.store.session_state(session_id, user_id=self.user_id)
        except SessionNotFound:
            raise self._no(session_id) from None
        return {
            "id": conversation_id(session_id),
            "object": "conversation",
            "created_at": int(state.created_at),
            "metadata": (self._data(session_id)).get(_METADATA, {}),
        }

    def update(self, session_id: str, body: object) -> Json:
        """Put other metadata in the place of what there is."""
        metadata = metadata_in(object_of(body, "body"))
        known = self._data(session_id).get(_METADATA, {})
        patch = {**dict.fromkeys(known), **metadata}
        self.manager.store.patch_session(session_id, {_METADATA: patch}, user_id=self.user_id)
        return self.get(session_id)

    def delete(self, session_id: str) -> Json:
        """End the session."""
        self._data(session_id)
        self.manager.end_session(session_id, user_id=self.user_id)
        told = {"id": conversation_id(session_id), "object": "conversation.deleted"}
        return {**told, "deleted": True}

    # --- items --------------------------------------------------------------------------------

    def items(self, session_id: str) -> list[Json]:
        """Return all that was said, oldest first."""
        try:
            thread = self.manager.store.load_thread(session_id, user_id=self.user_id)
        except SessionNotFound:
            raise self._no(session_id) from None
        return list(_items_of(session_id, thread.messages))

    def add(self, session_id: str, body: object) -> list[Json]:
        """Append items; return them as they are stored."""
        data = object_of(body, "body")
        self._data(session_id)
        given = input_items(data.get("items"), self.item)
        if not given.steps or given.answers:
            refuse("Items are messages, and calls with their outputs.", "items")
        self.manager.store.append_to_thread(session_id, given.steps, user_id=self.user_id)
        return self.items(session_id)[-len(given.steps) :]

    def item(self, item_id: str, param: str) -> Json:
        """Return the item that somebody refers to."""
        found = ItemId.read(item_id)
        if found is not None:
            for item in self._of_turn(found):
                if item["id"] == item_id:
                    return item
        raise not_found("Item", item_id, param)

    def _of_turn(self, item: ItemId) -> Sequence[Json]:
        if item.turn_id == "-":
            return self.items(item.session_id)
        try:
            state = self.manager.turn(item.session_id, item.turn_id, self.user_id)
        except SessionNotFound:
            return ()
        if state.message is None:
            return ()
        return _turn_items(
            item.session_id,
            [state.message, *state.steps],
            is_over=state.result is not None,
            waiting=state.waiting,
        )

    def _data(self, session_id: str) -> Json:
        data = self.manager.store.get_session(session_id, user_id=self.user_id)
        if data is None:
            raise self._no(session_id)
        return data

    def _no(self, session_id: str) -> Exception:
        return not_found("Conversation", conversation_id(session_id))


def page(found: Sequence[Json], after: str | None, limit: int, order: str) -> Json:
    """Return one page of a list; ``after`` is the id of the last item of the one before."""
    ordered = list(found) if order == "asc" else list(reversed(found))
    if after is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise not_found("Item", after, "after")
        ordered = ordered[ids.index(after) + 1 :]
    data = ordered[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(ordered) > limit,
    }


def _items_of(session_id: str, messages: Sequence[Message]) -> Iterator[Json]:
    """Yield the items of a thread: those of turns by turn, the others by message."""
    place = 0
    while place < len(messages):
        first, end = messages[place], place + 1
        is_turn = first.role == "user" and first.turn_id is not None
        while is_turn and end < len(messages) and messages[end].turn_id == first.turn_id:
            end += 1
        if is_turn and end > place + 1:
            yield from _turn_items(session_id, messages[place:end], is_over=True)
        else:
            yield from _loose(session_id, first)
        place = end


def _turn_items(
    session_id: str, messages: Sequence[Message], *, is_over: bool, waiting: Any = ()
) -> list[Json]:
    first, *steps = messages
    whole = ResponseId(session_id, first.turn_id or "")
    found = [user_message(whole.item("msg_", "u"), first)]
    for leg, one in enumerate(legs_of(steps)):
        found += outputs_in(whole.at(leg), one)
        events = events_of(session_id, messages, is_over=is_over, waiting=waiting)
        found += fold(whole.at(leg), events)["output"]
    return found


def _loose(session_id: str, message: Message) -> Iterator[Json]:
    """Yield a message that stands alone as items."""
    alone = ResponseId(session_id, "-")
    if message.role in ("user", "system"):
        yield user_message(alone.item("msg_", message.id), message)
        return
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        yield function_output(alone.item("fco_", message.id), call_id, message.text)
        return
    if message.text:
        yield message_item(alone.item("msg_", message.id), message.text)
    for number, call in enumerate(message.tool_calls):
        told = {"id": call.id, "name": call.name, "arguments": call.arguments}
        yield function_call(alone.item("fc_", f"{message.id}.{number}"), told)
