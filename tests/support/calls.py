"""How to call each public method of the store, the manager, the agent and the thread: one table.

A method of one of these classes that has no row here fails tests/test_calls.py. With its row it is
met by every outage, tried by strangers if it is about a session, and given what is no session id.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from types import FunctionType
from typing import Any

from attrs import define, evolve, frozen

from miniagent_redis import (
    Budget,
    InvalidInput,
    Message,
    RateLimit,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    SessionThread,
    StoreUnavailable,
    Usage,
    UsageTotals,
)
from miniagent_redis.models import OpenTurn, ThreadSlice
from miniagent_redis.store.operations.replies import Renewed
from miniagent_redis.store.parts import Parts

FIRST = 1.0
"""Seconds until a call that meets an outage fails: about a second is promised."""
COMMIT_TIMEOUT = 1.5
WAIT = 0.5
X = Message("user", "x")
ANSWER = Message("assistant", "b")
LIMIT = RateLimit(per="session", window=60, requests=10**6, tokens=10**6)
BUDGET = Budget(per="user", tokens=10**9)
NOTHING = ThreadSlice(0, 0, 0, 0, (), ())
ONE_MORE = evolve(NOTHING, count=1)


@define(slots=False)
class Scene:
    """What calls are made on, and by whom; the classes may be their mirrors for asyncio.

    ``doomed`` is the session that is deleted, ``mine`` names what a call may take for itself.
    """

    store: Any
    manager: Any
    agent: Any
    sid: Any
    user: Any
    turn: OpenTurn | None = None
    slice: ThreadSlice = ONE_MORE
    doomed: Any = ""
    mine: str = "mine"
    wait: float = WAIT

    def thread(self) -> Any:
        """Return a thread of which nothing is loaded."""
        return self.agent.thread(self.sid, user_id=self.user)

    def watching(self) -> Any:
        return self.manager.watch(self.sid, "", self.wait, user_id=self.user)


@frozen
class Call:
    """One call. Called itself, it makes the call to its end and checks what was found.

    ``is_owned``: it is about a session, and a stranger is told that there is none.
    ``finds``: what of its result cannot be empty while the session is there.
    ``deadline``: seconds by when it is over when Redis is away; ``may_return``: it may end without
    an error then; ``again_at_once``: it fails at once when that is known; ``commits``: it also
    saves a turn, once Redis let it begin one. ``is_refused``: there is nothing to do it to, which
    is InvalidInput.
    """

    make: Callable[[Any], Any]
    deadline: float = FIRST
    may_return: bool = False
    again_at_once: bool = True
    commits: bool = False
    finds: Callable[[Any], object] | None = None
    is_owned: bool = False
    is_refused: bool = False

    def __call__(self, scene: Scene) -> None:
        if self.is_refused:
            with suppress(InvalidInput):
                self.make(scene)
            return
        got = self.make(scene)
        if isinstance(got, Future):
            got = got.result(30)
        if inspect.isgenerator(got):
            got = list(got)
        assert self.finds is None or self.finds(got), "it looks as if nothing were there"


def _local(make: Callable[[Any], Any]) -> Call:
    return Call(make, may_return=True)


def _owned(make: Callable[[Any], Any], deadline: float = FIRST, **more: Any) -> Call:
    return Call(make, deadline, is_owned=True, **more)


def _messages(found: ThreadSlice | SessionThread) -> object:
    return found.messages


def _connect(s: Scene) -> None:
    with RedisSessionManager(s.store.config):
        pass


def _initialize(s: Scene) -> None:
    agent = SessionAgent(redis_config=s.store.config)
    try:
        agent.initialize()
    finally:
        agent.shutdown()


def _answers(said: bool) -> None:
    if not said:
        raise StoreUnavailable("it does not answer", cause="it says so", hint="none")


def _spend(s: Scene) -> None:
    whose = {"turn_id": "t", "session_id": s.sid, "user_id": s.user}
    s.store.parts.budgets.reserve([BUDGET], Usage(1), Usage(1), None, **whose).settle(Usage(1))


def _renew_locks(s: Scene) -> None:
    locks = s.store.parts.locks
    lock = locks._held[s.mine]
    lock._until -= lock._ttl / 2  # it is due
    locks.renew()


STORE = {
    "connect": Call(_connect, again_at_once=False),  # each time a new store, which knows nothing
    "disconnect": Call(lambda s: s.store.disconnect(), 2 * FIRST, True, again_at_once=False),
    # They ask each time.
    "health_check": Call(lambda s: _answers(s.store.health_check()), again_at_once=False),
    "health": Call(lambda s: _answers(s.store.health().latency is not None), again_at_once=False),
    "client": _local(lambda s: s.store.client),
    "serialize": _local(lambda s: s.store.serialize({})),
    "deserialize": _local(lambda s: s.store.deserialize(s.store.serialize({"v": 1}))),
    "create_session": Call(lambda s: s.store.create_session(f"{s.mine}-new")),
    "get_session": _owned(lambda s: s.store.get_session(s.sid, user_id=s.user), finds=bool),
    "session_state": _owned(lambda s: s.store.session_state(s.sid, user_id=s.user)),
    "update_session": _owned(
        lambda s: s.store.update_session(s.sid, {"n": 2}, user_id=s.user), finds=bool
    ),
    "patch_session": _owned(
        lambda s: s.store.patch_session(s.sid, {"n": 3}, user_id=s.user), finds=bool
    ),
    "delete_session": _owned(lambda s: s.store.delete_session(s.doomed, user_id=s.user)),
    "forget_user": Call(lambda s: s.store.forget_user("nobody")),
    "touch_session": _owned(lambda s: s.store.touch_session(s.sid, user_id=s.user)),
    "extend_session_ttl": _owned(
        lambda s: s.store.extend_session_ttl(s.sid, 99, user_id=s.user), finds=bool
    ),
    "list_sessions": Call(lambda s: s.store.list_sessions(s.user), finds=bool),
    "load_thread": _owned(lambda s: s.store.load_thread(s.sid, user_id=s.user), finds=_messages),
    "load_tail": _owned(lambda s: s.store.load_tail(s.sid, 5, user_id=s.user), finds=_messages),
    "append_to_thread": _owned(
        lambda s: s.store.append_to_thread(s.sid, X, operation_id="op", user_id=s.user)
    ),
    "clear_thread": _owned(lambda s: s.store.clear_thread(s.sid, user_id=s.user)),
    "export_thread": _owned(
        lambda s: s.store.export_thread(s.sid, user_id=s.user), finds=lambda lines: lines[1:]
    ),
    "import_thread": _owned(lambda s: s.store.import_thread(s.sid, [], user_id=s.user)),
    "copy_thread": _owned(lambda s: s.store.copy_thread(s.sid, s.sid, user_id=s.user)),
    "truncate_thread": _owned(lambda s: s.store.truncate_thread(s.sid, 99, user_id=s.user)),
    "renew_session_id": _owned(
        lambda s: s.store.renew_session_id(s.doomed, user_id=s.user), finds=bool
    ),
    "set_title": _owned(lambda s: s.store.set_title(s.sid, "title", user_id=s.user), finds=bool),
    "fork_session": _owned(lambda s: s.store.fork_session(s.sid, user_id=s.user), finds=bool),
    "list_branches": _owned(lambda s: s.store.list_branches(s.sid, user_id=s.user)),
    "rewind": _owned(lambda s: s.store.rewind(s.doomed, 0, user_id=s.user)),
    "search": Call(lambda s: s.store.search("x", "nobody")),
    "read_events": _owned(lambda s: s.store.read_events(s.sid, user_id=s.user), finds=bool),
    "watch": _owned(lambda s: s.store.watch(s.sid, "", s.wait, user_id=s.user), finds=bool),
    "begin_turn": _owned(
        lambda s: s.store.begin_turn(s.sid, X, on_busy="interrupt", user_id=s.user)
    ),
    "resume_turn": _owned(lambda s: s.store.resume_turn(s.sid, user_id=s.user)),
    "stage_step": _owned(
        lambda s: s.store.stage_step(s.turn, [ANSWER]), COMMIT_TIMEOUT, again_at_once=False
    ),
    "renew_lease": _owned(lambda s: s.store.renew_lease(s.turn)),
    "tell_text": _owned(lambda s: s.store.tell_text(s.turn, "x")),
    "cancel_turn": _owned(lambda s: s.store.cancel_turn(s.sid, user_id=s.user)),
    "commit_turn": _owned(
        lambda s: s.store.commit_turn(s.turn, [ANSWER]), COMMIT_TIMEOUT, again_at_once=False
    ),
    "replay_turn": _owned(
        lambda s: s.store.replay_turn(evolve(s.turn, staged=(*s.turn.staged, ANSWER)))
    ),
    "abort_turn": _owned(lambda s: s.store.abort_turn(s.turn)),
    "resolve_turn": _owned(lambda s: s.store.resolve_turn(s.sid, "open", user_id=s.user)),
    "sweep": Call(lambda s: s.store.sweep([], 1)),
    "cache_get": Call(lambda s: s.store.cache_get(s.mine), finds=bool),
    "cache_set": Call(lambda s: s.store.cache_set("k", 1)),
    "cache_delete": Call(lambda s: s.store.cache_delete("k")),
    # It looks it up, computes it all the same, and tries to keep it.
    "cache_get_or_set": Call(lambda s: s.store.cache_get_or_set("new", int), 2 * FIRST, True),
    "cache_stats": _local(lambda s: s.store.cache_stats),
    "lock": Call(lambda s: s.store.lock("l", timeout=s.wait).acquire()),
    "acquire_lock": Call(lambda s: s.store.acquire_lock(s.mine, timeout=s.wait)),
    "release_lock": Call(lambda s: s.store.release_lock(s.mine), again_at_once=False),
    "is_locked": Call(lambda s: s.store.is_locked(s.mine), finds=bool),
    "publish": Call(lambda s: s.store.publish("c", 1)),
    "subscribe": Call(lambda s: s.store.subscribe(["more"])),
    "get_messages": Call(
        lambda s: s.store.get_messages(timeout=s.wait), FIRST + WAIT, True, again_at_once=False
    ),
    "unsubscribe": _local(lambda s: s.store.unsubscribe()),
    "rate_limit": Call(lambda s: s.store.rate_limit("k")),
    "check_rate_limit": Call(lambda s: s.store.check_rate_limit("k")),
    "check_rate_limits": Call(lambda s: s.store.check_rate_limits([LIMIT], session_id=s.sid)),
    "usage": _owned(lambda s: s.store.usage(session_id=s.sid, user_id=s.user)),
    "unreadable_records": _local(lambda s: s.store.unreadable_records),
    "failed_expiry_hooks": _local(lambda s: s.store.failed_expiry_hooks),
    "stats": _local(lambda s: s.store.stats()),
    "parts": _local(lambda s: s.store.parts),
    "tenant": _local(lambda s: s.store.tenant("acme")),
    "config": _local(lambda s: s.store.config),
    "clock": _local(lambda s: s.store.clock),
}
PARTS = {
    "threads.load_rest": _owned(lambda s: s.store.parts.threads.load_rest(s.slice, s.sid, s.user)),
    "locks.renew": Call(_renew_locks, may_return=True),
    "limits.charge_tokens": Call(
        lambda s: s.store.parts.limits.charge_tokens([LIMIT], 5, session_id=s.sid)
    ),
    "budgets.reserve": Call(_spend, 2 * FIRST),
    "usage.note": _local(lambda s: s.store.parts.usage.note(UsageTotals(turns=1))),
    "usage.flush": Call(lambda s: s.store.parts.usage.flush(), may_return=True),
    "index.mark": _local(lambda s: s.store.parts.index.mark(s.sid, Renewed(1, 1, 1, b""))),
    "index.flush": Call(lambda s: s.store.parts.index.flush(), may_return=True),
    "index.enter": Call(lambda s: s.store.parts.index.enter("i", None, 1, 1)),
    "index.remove": Call(lambda s: s.store.parts.index.remove("i", b""), may_return=True),
}
"""What the agent, its jobs and the nouns call of each other."""


MANAGER = {
    "tenant": _local(lambda s: s.manager.tenant("acme")),
    "create_or_resume_session": Call(lambda s: s.manager.create_or_resume_session()),
    "chat": _owned(lambda s: s.manager.chat(s.sid, "x", user_id=s.user), commits=True),
    "run": _owned(lambda s: s.manager.run(s.sid, "x", user_id=s.user), commits=True),
    "stream": _owned(lambda s: s.manager.stream(s.sid, "x", user_id=s.user), commits=True),
    "start": _owned(lambda s: s.manager.start(s.sid, "x", user_id=s.user)),
    "turn": _owned(lambda s: s.manager.turn(s.sid, "none", s.user)),
    "resume_turn": _owned(lambda s: s.manager.resume_turn(s.sid, user_id=s.user)),
    "answer": _owned(
        lambda s: s.manager.answer(s.sid, "none", {"call": "x"}, user_id=s.user), is_refused=True
    ),
    "list_waiting": Call(lambda s: s.manager.list_waiting(s.user)),
    "cancel": _owned(lambda s: s.manager.cancel(s.sid, user_id=s.user)),
    # If it is under way, one look finds out, and the last one may take as long.
    "watch": _owned(lambda s: s.watching(), WAIT + 2 * FIRST, may_return=True, again_at_once=False),
    "usage": _owned(lambda s: s.manager.usage(session_id=s.sid, user_id=s.user)),
    "get_history": _owned(lambda s: s.manager.get_history(s.sid, user_id=s.user), finds=bool),
    "list_sessions": Call(lambda s: s.manager.list_sessions(s.user), finds=bool),
    "search": Call(lambda s: s.manager.search("x", "nobody")),
    "set_title": _owned(lambda s: s.manager.set_title(s.sid, "title", user_id=s.user), finds=bool),
    "fork_session": _owned(lambda s: s.manager.fork_session(s.sid, user_id=s.user), finds=bool),
    "list_branches": _owned(lambda s: s.manager.list_branches(s.sid, user_id=s.user)),
    "rewind": _owned(lambda s: s.manager.rewind(s.doomed, 0, user_id=s.user)),
    "edit": _owned(
        lambda s: s.manager.edit(s.doomed, "none", "x", user_id=s.user), is_refused=True
    ),
    "regenerate": _owned(
        lambda s: s.manager.regenerate(s.doomed, "none", user_id=s.user), is_refused=True
    ),
    "clear_history": _owned(lambda s: s.manager.clear_history(s.sid, user_id=s.user)),
    "forget_user": Call(lambda s: s.manager.forget_user("nobody")),
    "renew_session_id": _owned(
        lambda s: s.manager.renew_session_id(s.doomed, user_id=s.user), finds=bool
    ),
    "end_session": _owned(lambda s: s.manager.end_session(s.doomed, user_id=s.user)),
}
AGENT = {
    "tenant": _local(lambda s: s.agent.tenant("acme")),
    "initialize": Call(_initialize, again_at_once=False),
    "shutdown": Call(lambda s: s.agent.shutdown(WAIT), WAIT + 2 * FIRST, True, again_at_once=False),
    "on_expire": _local(lambda s: s.agent.on_expire(print)),
    "stats": _local(lambda s: s.agent.stats()),
    "thread": _local(lambda s: s.agent.thread(s.sid)),
    "forget": _local(lambda s: s.agent.forget("other")),
    "submit": _owned(lambda s: s.agent.submit(s.sid, "x", user_id=s.user), commits=True),
    "run": _owned(lambda s: s.agent.run(s.sid, "x", user_id=s.user), commits=True),
    "stream": _owned(lambda s: s.agent.stream(s.sid, "x", user_id=s.user), commits=True),
    "resume_turn": _owned(lambda s: s.agent.resume_turn(s.sid, user_id=s.user)),
    "answer": _owned(
        lambda s: s.agent.answer(s.sid, "none", {"call": "x"}, user_id=s.user), is_refused=True
    ),
    "cancel": _owned(lambda s: s.agent.cancel(s.sid, user_id=s.user)),
}
THREAD = {
    "messages": _owned(lambda s: s.thread().messages, finds=bool),
    "__iter__": _owned(lambda s: list(s.thread()), finds=bool),
    "__len__": _owned(lambda s: len(s.thread()), finds=bool),
    "unreadable": _local(lambda s: s.thread().unreadable),
    "known": _local(lambda s: s.thread().known),
    "newest": _owned(lambda s: s.thread().newest),
    "end": _local(lambda s: s.thread().end),
    "refresh": _owned(lambda s: s.thread().refresh(), finds=_messages),
    "add_message": _owned(lambda s: s.thread().add_message("user", "x")),
    "clear": _owned(lambda s: s.thread().clear()),
    "forget": _local(lambda s: s.thread().forget()),
    "absorb": _local(lambda s: s.thread().absorb(NOTHING)),
    "committed": _local(lambda s: s.thread().committed(s.turn, [], 1)),
}
AIO_THREAD = {
    "load": _owned(lambda s: s.thread().load()),
    **{name: THREAD[name] for name in ("refresh", "add_message", "clear")},
}
TABLES: dict[type, dict[str, Call]] = {
    RedisSessionManager: STORE,
    SessionManager: MANAGER,
    SessionAgent: AGENT,
    SessionThread: THREAD,
}
CALLS = {
    f"{cls.__name__}.{name}": call
    for cls, table in [*TABLES.items(), (Parts, PARTS)]
    for name, call in table.items()
}


def public_methods(cls: type) -> Iterator[str]:
    """Yield what users can call or look at in a class."""
    for name, value in inspect.getmembers_static(cls):
        is_public = not name.startswith("_") or name in ("__iter__", "__len__")
        if is_public and isinstance(value, (property, FunctionType)):
            yield name


def of_sessions() -> Iterator[str]:
    """Yield each method of the store that takes a session's id and its user's."""
    for name, call in STORE.items():
        method = getattr(RedisSessionManager, name)
        if call.is_owned and "user_id" in inspect.signature(method).parameters:
            yield name


def call_store(name: str, store: RedisSessionManager, sid: Any, user: Any) -> Any:
    """Call one of them; what it yields ends with the first item."""
    got = STORE[name].make(Scene(store, None, None, sid, user, doomed=sid))
    return next(got) if inspect.isgenerator(got) else got
