"""How to call each public method that takes a session, as any user: store, agent, thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve

from miniagent_redis import Message
from miniagent_redis.models import OpenTurn, ThreadSlice

X = Message("user", "x")
NO_THREAD = ThreadSlice(0, 0, 0, 0, (), ())
Call = Callable[[Any, str, Any], Any]

HOLDERS: dict[str, str] = {}
"""The holder of each session's open turn, once it is known."""


def _turn(sid: str, user: Any) -> OpenTurn:
    """Return the rights to the owner's open turn, as somebody might forge them."""
    turn = OpenTurn(sid, "open", "forged", NO_THREAD, (X,), user_id=user)
    return evolve(turn, holder=HOLDERS.get(sid, "forged"))


_ANSWER = [Message("assistant", "x")]
CALLS: dict[str, dict[str, Call]] = {
    "RedisSessionManager": {
        "get_session": lambda o, sid, user: o.get_session(sid, user_id=user),
        "session_state": lambda o, sid, user: o.session_state(sid, user_id=user),
        "update_session": lambda o, sid, user: o.update_session(sid, {}, user_id=user),
        "delete_session": lambda o, sid, user: o.delete_session(sid, user_id=user),
        "touch_session": lambda o, sid, user: o.touch_session(sid, user_id=user),
        "extend_session_ttl": lambda o, sid, user: o.extend_session_ttl(sid, 9, user_id=user),
        "load_thread": lambda o, sid, user: o.load_thread(sid, user_id=user),
        "load_rest": lambda o, sid, user: o.load_rest(evolve(NO_THREAD, count=1), sid, user),
        "load_tail": lambda o, sid, user: o.load_tail(sid, 5, user_id=user),
        "append_to_thread": lambda o, sid, user: o.append_to_thread(sid, X, user_id=user),
        "clear_thread": lambda o, sid, user: o.clear_thread(sid, user_id=user),
        "begin_turn": lambda o, sid, user: o.begin_turn(sid, X, user_id=user, on_busy="interrupt"),
        "resume_turn": lambda o, sid, user: o.resume_turn(sid, user_id=user),
        "resolve_turn": lambda o, sid, user: o.resolve_turn(sid, "open", user_id=user),
        "stage_step": lambda o, sid, user: o.stage_step(_turn(sid, user), _ANSWER),
        "tell_text": lambda o, sid, user: o.tell_text(_turn(sid, user), "x"),
        "cancel_turn": lambda o, sid, user: o.cancel_turn(sid, user_id=user),
        "renew_lease": lambda o, sid, user: o.renew_lease(_turn(sid, user)),
        "commit_turn": lambda o, sid, user: o.commit_turn(_turn(sid, user), _ANSWER),
        "replay_turn": lambda o, sid, user: o.replay_turn(_turn(sid, user)),
        "abort_turn": lambda o, sid, user: o.abort_turn(_turn(sid, user)),
        "read_events": lambda o, sid, user: o.read_events(sid, user_id=user),
        "watch": lambda o, sid, user: o.watch(sid, "", 0.05, user_id=user),
        "usage": lambda o, sid, user: o.usage(session_id=sid, user_id=user),
    },
    "SessionManager": {
        "chat": lambda o, sid, user: o.chat(sid, "x", user_id=user),
        "run": lambda o, sid, user: o.run(sid, "x", user_id=user),
        "stream": lambda o, sid, user: o.stream(sid, "x", user_id=user),
        "resume_turn": lambda o, sid, user: o.resume_turn(sid, user_id=user),
        "cancel": lambda o, sid, user: o.cancel(sid, user_id=user),
        "watch": lambda o, sid, user: o.watch(sid, "", 0.05, user_id=user),
        "get_history": lambda o, sid, user: o.get_history(sid, user_id=user),
        "usage": lambda o, sid, user: o.usage(session_id=sid, user_id=user),
        "clear_history": lambda o, sid, user: o.clear_history(sid, user_id=user),
        "end_session": lambda o, sid, user: o.end_session(sid, user_id=user),
    },
    "SessionAgent": {
        "run": lambda o, sid, user: o.run(sid, "x", user_id=user),
        "stream": lambda o, sid, user: o.stream(sid, "x", user_id=user),
        "cancel": lambda o, sid, user: o.cancel(sid, user_id=user),
        "submit": lambda o, sid, user: o.submit(sid, "x", user_id=user),
        "resume_turn": lambda o, sid, user: o.resume_turn(sid, user_id=user),
    },
    "SessionThread": {
        "messages": lambda o, sid, user: o(sid, user).messages,
        "refresh": lambda o, sid, user: o(sid, user).refresh(),
        "add_message": lambda o, sid, user: o(sid, user).add_message("user", "x"),
        "clear": lambda o, sid, user: o(sid, user).clear(),
        "__iter__": lambda o, sid, user: list(o(sid, user)),
        "__len__": lambda o, sid, user: len(o(sid, user)),
    },
}
# These ask Redis for nothing, act on entries of indexes alone, or have tests of their own below.
OTHERS = {
    "RedisSessionManager": {"create_session", "list_sessions", "add_to_indexes", "mark_active",
                            "remove_from_indexes", "check_rate_limits", "charge_tokens",
                            "note_usage"},
    "SessionManager": {"create_or_resume_session", "list_sessions"},
    "SessionAgent": {"thread", "forget"},
    "SessionThread": {"known", "unreadable", "forget", "absorb", "committed"},
}  # fmt: skip
ASYNC_THREAD: dict[str, Call] = {
    "load": lambda o, sid, user: o(sid, user).load(),
    "refresh": lambda o, sid, user: o(sid, user).refresh(),
    "add_message": lambda o, sid, user: o(sid, user).add_message("user", "x"),
    "clear": lambda o, sid, user: o(sid, user).clear(),
}
