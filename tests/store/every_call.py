"""How to call each public method of the store that takes a session and a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager

Store = RedisSessionManager
X = Message("user", "x")

CALLS: dict[str, Callable[[Store, str, Any], object]] = {
    "get_session": lambda store, sid, user: store.get_session(sid, user_id=user),
    "session_state": lambda store, sid, user: store.session_state(sid, user_id=user),
    "update_session": lambda store, sid, user: store.update_session(sid, {}, user_id=user),
    "delete_session": lambda store, sid, user: store.delete_session(sid, user_id=user),
    "touch_session": lambda store, sid, user: store.touch_session(sid, user_id=user),
    "extend_session_ttl": lambda store, sid, user: store.extend_session_ttl(sid, 9, user_id=user),
    "load_thread": lambda store, sid, user: store.load_thread(sid, user_id=user),
    "load_tail": lambda store, sid, user: store.load_tail(sid, 5, user_id=user),
    "append_to_thread": lambda store, sid, user: store.append_to_thread(sid, X, user_id=user),
    "clear_thread": lambda store, sid, user: store.clear_thread(sid, user_id=user),
    "read_events": lambda store, sid, user: store.read_events(sid, user_id=user),
    "watch": lambda store, sid, user: next(store.watch(sid, "", user_id=user)),
    "begin_turn": lambda store, sid, user: store.begin_turn(sid, X, user_id=user),
    "resume_turn": lambda store, sid, user: store.resume_turn(sid, user_id=user),
    "cancel_turn": lambda store, sid, user: [store.cancel_turn(sid, user_id=user)],
    "usage": lambda store, sid, user: store.usage(session_id=sid, user_id=user),
    "resolve_turn": lambda store, sid, user: store.resolve_turn(sid, "t", user_id=user),
}
