"""A branch: another conversation that begins as one did, up to one of its responses."""

from __future__ import annotations

from ...store.manager import RedisSessionManager
from .faults import not_found
from .ids import ResponseId


def is_newest(store: RedisSessionManager, response: ResponseId, user_id: str) -> bool:
    """Whether a response that is over is the last thing in its session, which is idle."""
    open_turn = store.parts.open_turns.look(response.session_id, None, user_id)
    if open_turn.is_open:
        return open_turn.turn_id == response.turn_id
    tail = store.load_tail(response.session_id, 1, user_id=user_id).messages
    return bool(tail) and tail[-1].turn_id == response.turn_id


def branch(store: RedisSessionManager, response: ResponseId, target: str, user_id: str) -> None:
    """Give ``target``, which is there and empty, the conversation up to the response's turn."""
    found = store.load_thread(response.session_id, user_id=user_id)
    places = [
        index
        for index, message in zip(found.indexes, found.messages, strict=True)
        if message.turn_id == response.turn_id
    ]
    if not places:
        raise not_found("Previous response", response, "previous_response_id")
    upto = places[-1] + 1
    store.copy_thread(response.session_id, target, upto=upto, user_id=user_id)
