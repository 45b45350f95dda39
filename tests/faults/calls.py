"""How to call each public method of the store, the agent, the manager and the thread.

Each call is made on a world of its own, prepared while all was well, and says by when it has to
be over when Redis is away. A call that reads checks that what it got is what is stored.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from attrs import evolve, frozen
from place import APP, Place

from miniagent_redis import (
    EventType,
    Message,
    RateLimit,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    SessionThread,
    StoreUnavailable,
    StreamCallback,
    UsageTotals,
)

FIRST = 1.0
"""Seconds until a call that meets an outage fails: about a second is promised."""
COMMIT_TIMEOUT = 1.5
WAIT = 0.5
ANSWER = Message("assistant", "b")
LIMIT = RateLimit(per="session", window=60, requests=10**6, tokens=10**6)


class World:
    """An open agent with a session, an open turn on another one, a lock and listeners."""

    def __init__(self, place: Place, kind: str, name: str) -> None:
        login = {} if kind == "password wanted" else {"username": APP[0], "password": APP[1]}
        self.config = RedisConfig(
            url=place.proxy.url,
            max_connections=2,
            commit_timeout=COMMIT_TIMEOUT,
            lease_ttl=3600,
            **login,  # type: ignore[arg-type]
        )
        self.told: list[str] = []
        callbacks = StreamCallback()
        callbacks.on(EventType.HEALTH_CHANGED, lambda event: self.told.append(event.data["state"]))
        self.agent = SessionAgent(redis_config=self.config, callbacks=callbacks)
        # The background thread would meet the outage first; only some calls need it.
        self.agent.background.jobs.clear()
        self.agent.initialize()
        self.store = self.agent.store
        self.manager = SessionManager(self.agent)
        self.sid, self.busy = f"{name}-s", f"{name}-t"
        for session in (self.sid, self.busy):
            self.store.create_session(session, {"n": 1}, user_id=name)
        self.manager.chat(self.sid, "Hello")
        self.user = name
        self.slice = self.store.load_thread(self.sid)
        self.turn = self.store.begin_turn(self.busy, "a")
        self.thread = self.agent.thread(self.sid)
        self.lock = f"{name}-lock"
        assert self.store.acquire_lock(self.lock)
        self.store.subscribe([f"{name}-c"])
        self.store.cache_set(name, 1)
        self.watching = self.manager.watch(self.busy, "", WAIT)
        next(self.watching)

    def new_thread(self) -> SessionThread:
        """Return a thread of which nothing is loaded."""
        return SessionThread(self.store, self.sid)

    def close(self) -> None:
        self.agent.shutdown(1.0)


@frozen
class Call:
    """One call; ``may_return`` whether it may end without an error although Redis is away.

    ``commits`` is whether it also saves a turn, once Redis let it begin one.
    """

    make: Callable[[World], Any]
    deadline: float = FIRST
    may_return: bool = False
    again_at_once: bool = True
    commits: bool = False


def _local(make: Callable[[World], Any]) -> Call:
    return Call(make, may_return=True)


def _there(found: Any) -> Any:
    assert found, "it looks as if nothing were there"
    return found


def _connect(w: World) -> None:
    with RedisSessionManager(w.config):
        pass


def _initialize(w: World) -> None:
    agent = SessionAgent(redis_config=w.config)
    try:
        agent.initialize()
    finally:
        agent.shutdown()


def _answers(said: bool) -> None:
    if not said:
        raise StoreUnavailable("it does not answer", cause="it says so", hint="none")


def _renew_locks(w: World) -> None:
    lock = w.store._held[w.lock]
    assert lock._until is not None
    lock._until -= lock._ttl / 2  # it is due
    w.store.renew_locks()


STORE = {
    "connect": Call(_connect, again_at_once=False),  # each time a new store, which knows nothing
    "disconnect": Call(lambda w: w.store.disconnect(), 2 * FIRST, True, again_at_once=False),
    # They ask each time.
    "health_check": Call(lambda w: _answers(w.store.health_check()), again_at_once=False),
    "health": Call(lambda w: _answers(w.store.health().latency is not None), again_at_once=False),
    "client": _local(lambda w: w.store.client),
    "serialize": _local(lambda w: w.store.serialize({})),
    "deserialize": _local(lambda w: w.store.deserialize(w.store.serialize({"v": 1}))),
    "create_session": Call(lambda w: w.store.create_session(f"{w.user}-new")),
    "get_session": Call(lambda w: _there(w.store.get_session(w.sid))),
    "session_state": Call(lambda w: w.store.session_state(w.sid)),
    "update_session": Call(lambda w: _there(w.store.update_session(w.sid, {"n": 2}))),
    "delete_session": Call(lambda w: w.store.delete_session(f"{w.user}-new")),
    "touch_session": Call(lambda w: w.store.touch_session(w.sid)),
    "extend_session_ttl": Call(lambda w: _there(w.store.extend_session_ttl(w.sid, 99))),
    "list_sessions": Call(lambda w: _there(w.store.list_sessions(w.user))),
    "load_thread": Call(lambda w: _there(w.store.load_thread(w.sid).messages)),
    "load_tail": Call(lambda w: _there(w.store.load_tail(w.sid, 1).messages)),
    "load_rest": Call(
        lambda w: w.store.load_rest(
            evolve(w.slice, messages=w.slice.messages[:1], indexes=w.slice.indexes[:1]), w.sid
        )
    ),
    "append_to_thread": Call(lambda w: w.store.append_to_thread(w.sid, ANSWER, operation_id="op")),
    "clear_thread": Call(lambda w: w.store.clear_thread(w.sid)),
    "read_events": Call(lambda w: _there(w.store.read_events(w.sid))),
    "watch": Call(lambda w: _there(list(w.store.watch(w.sid, "", WAIT)))),
    "begin_turn": Call(lambda w: w.store.begin_turn(w.sid, "x", on_busy="interrupt")),
    "resume_turn": Call(lambda w: w.store.resume_turn(w.sid)),
    "stage_step": Call(
        lambda w: w.store.stage_step(w.turn, [ANSWER]), COMMIT_TIMEOUT, again_at_once=False
    ),
    "renew_lease": Call(lambda w: w.store.renew_lease(w.turn)),
    "tell_text": Call(lambda w: w.store.tell_text(w.turn, "x")),
    "cancel_turn": Call(lambda w: w.store.cancel_turn(w.sid)),
    "commit_turn": Call(
        lambda w: w.store.commit_turn(w.turn, [ANSWER]), COMMIT_TIMEOUT, again_at_once=False
    ),
    "replay_turn": Call(
        lambda w: w.store.replay_turn(evolve(w.turn, staged=(*w.turn.staged, ANSWER)))
    ),
    "abort_turn": Call(lambda w: w.store.abort_turn(w.turn)),
    "resolve_turn": Call(lambda w: w.store.resolve_turn(w.sid, "t")),
    "sweep": Call(lambda w: w.store.sweep([], 1)),
    "cache_get": Call(lambda w: _there(w.store.cache_get(w.user))),
    "cache_set": Call(lambda w: w.store.cache_set("k", 1)),
    "cache_delete": Call(lambda w: w.store.cache_delete("k")),
    # It computes the value when it cannot look it up.
    # It looks it up, computes it all the same, and tries to keep it.
    "cache_get_or_set": Call(lambda w: w.store.cache_get_or_set("new", int), 2 * FIRST, True),
    "cache_stats": _local(lambda w: w.store.cache_stats),
    "lock": Call(lambda w: w.store.lock("l", timeout=WAIT).acquire()),
    "acquire_lock": Call(lambda w: w.store.acquire_lock(w.lock, timeout=WAIT)),
    "release_lock": Call(lambda w: w.store.release_lock(w.lock), again_at_once=False),
    "renew_locks": Call(_renew_locks, may_return=True),
    "is_locked": Call(lambda w: _there(w.store.is_locked(w.lock))),
    "publish": Call(lambda w: w.store.publish("c", 1)),
    "subscribe": Call(lambda w: w.store.subscribe(["more"])),
    "get_messages": Call(
        lambda w: list(w.store.get_messages(timeout=WAIT)), FIRST + WAIT, True, again_at_once=False
    ),
    "unsubscribe": _local(lambda w: w.store.unsubscribe()),
    "rate_limit": Call(lambda w: w.store.rate_limit("k")),
    "check_rate_limit": Call(lambda w: w.store.check_rate_limit("k")),
    "check_rate_limits": Call(lambda w: w.store.check_rate_limits([LIMIT], session_id=w.sid)),
    "charge_tokens": Call(lambda w: w.store.charge_tokens([LIMIT], 5, session_id=w.sid)),
    "note_usage": _local(lambda w: w.store.note_usage(UsageTotals(turns=1))),
    "flush_usage": Call(lambda w: w.store.flush_usage(), may_return=True),
    "usage": Call(lambda w: w.store.usage(session_id=w.sid)),
    "flush_marks": Call(lambda w: w.store.flush_marks(), may_return=True),
    "mark_active": _local(lambda w: w.store.mark_active(w.sid, 1, b"")),
    "add_to_indexes": Call(lambda w: w.store.add_to_indexes("i", None, 1, 1)),
    "remove_from_indexes": Call(lambda w: w.store.remove_from_indexes("i", b""), may_return=True),
}
MANAGER = {
    "create_or_resume_session": Call(lambda w: w.manager.create_or_resume_session()),
    "chat": Call(lambda w: w.manager.chat(w.sid, "x"), commits=True),
    "run": Call(lambda w: w.manager.run(w.sid, "x"), commits=True),
    "stream": Call(lambda w: list(w.manager.stream(w.sid, "x")), commits=True),
    "resume_turn": Call(lambda w: w.manager.resume_turn(w.sid)),
    "cancel": Call(lambda w: w.manager.cancel(w.sid)),
    # It is under way: one look finds out, and the last one may take as long.
    "watch": Call(lambda w: list(w.watching), WAIT + 2 * FIRST, True, again_at_once=False),
    "usage": Call(lambda w: w.manager.usage()),
    "get_history": Call(lambda w: _there(w.manager.get_history(w.sid))),
    "list_sessions": Call(lambda w: _there(w.manager.list_sessions(w.user))),
    "clear_history": Call(lambda w: w.manager.clear_history(w.sid)),
    "end_session": Call(lambda w: w.manager.end_session(f"{w.user}-new")),
}
AGENT = {
    "initialize": Call(_initialize, again_at_once=False),
    "shutdown": Call(lambda w: w.agent.shutdown(WAIT), WAIT + 2 * FIRST, True, again_at_once=False),
    "on_expire": _local(lambda w: w.agent.on_expire(print)),
    "thread": _local(lambda w: w.agent.thread(w.sid)),
    "forget": _local(lambda w: w.agent.forget("other")),
    "submit": Call(lambda w: w.agent.submit(w.sid, "x").result(30), commits=True),
    "run": Call(lambda w: w.agent.run(w.sid, "x"), commits=True),
    "stream": Call(lambda w: list(w.agent.stream(w.sid, "x")), commits=True),
    "resume_turn": Call(lambda w: w.agent.resume_turn(w.sid)),
    "cancel": Call(lambda w: w.agent.cancel(w.sid)),
}
THREAD = {
    "messages": Call(lambda w: _there(w.new_thread().messages)),
    "unreadable": _local(lambda w: w.thread.unreadable),
    "known": _local(lambda w: w.thread.known),
    "refresh": Call(lambda w: _there(w.thread.refresh().messages)),
    "add_message": Call(lambda w: w.thread.add_message("user", "x")),
    "clear": Call(lambda w: w.thread.clear()),
    "forget": _local(lambda w: w.new_thread().forget()),
    "absorb": _local(lambda w: w.thread.absorb(w.slice)),
    "committed": _local(lambda w: w.new_thread().committed(w.turn, [], 1)),
}
TABLES: dict[type, dict[str, Call]] = {
    RedisSessionManager: STORE,
    SessionManager: MANAGER,
    SessionAgent: AGENT,
    SessionThread: THREAD,
}
CALLS = {
    f"{cls.__name__}.{name}": call for cls, table in TABLES.items() for name, call in table.items()
}


def public_methods() -> Iterator[str]:
    """Yield the names that the table must have."""
    for cls in TABLES:
        for name, value in inspect.getmembers_static(cls):
            if not name.startswith("_") and isinstance(value, (property, FunctionType)):
                yield f"{cls.__name__}.{name}"
