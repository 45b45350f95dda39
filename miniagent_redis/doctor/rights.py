"""May our user do what the library does? Asked with ACL DRYRUN, else tried without a trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..connection.durability import ASKED
from ..connection.listening import Listening
from ..connection.master import ROLE
from ..connection.refusals import WRONG_TYPE, refusal_behind
from ..connection.topology import Node
from ..errors import StoreMisconfigured
from ..models import new_id
from ..store.acl import acl_rule, topology
from ..store.keys import Keys
from ..store.manager import RedisSessionManager
from ..store.operations.repair import inspect_session
from .asking import asking, is_cluster
from .check import Check
from .shell import redis_cli

Command = tuple[str | int, ...]


def in_cluster(keys: Keys) -> list[Command]:
    """Return what is sent besides where Redis is a cluster."""
    events = keys.events("doctor")
    return [("CLUSTER", "SLOTS"), ("ASKING",), ("SPUBLISH", events, ""), ("SSUBSCRIBE", events)]


def commands(keys: Keys) -> list[Command]:
    """Return each command that the library and its scripts send, on keys like those it uses."""
    session, thread, _, metadata, ops, events, _ = keys.of_session("doctor")
    index, deadlines, user = keys.sessions(0), keys.deadlines(0), keys.user_sessions("doctor")
    limit = keys.rate_limit("doctor", 1000)
    lock, signal = keys.of_lock(keys.lock("doctor"))
    return [
        ("EVALSHA", "0" * 40, 1, session),
        ("EVAL", "return 1", 1, session),
        ("GET", session), ("SET", session, ""), ("EXISTS", session), ("TYPE", session),
        ("DEL", session), ("PEXPIREAT", session, 1), ("PEXPIRETIME", session), ("PERSIST", session),
        ("TIME",),
        ("STRLEN", session), ("HLEN", ops),
        ("RPUSH", thread, ""), ("RPOP", thread, 1), ("LPOP", thread, 1), ("LPUSH", thread, ""),
        ("LRANGE", thread, 0, 0), ("LLEN", thread),
        ("LINDEX", thread, 0),
        ("HSET", metadata, "a", ""), ("HGET", metadata, "a"), ("HMGET", metadata, "a"),
        ("HDEL", metadata, "a"), ("HGETALL", metadata),
        ("XADD", events, "*", "a", ""), ("XRANGE", events, "-", "+"),
        ("XREVRANGE", events, "+", "-"),
        ("HINCRBY", metadata, "a", 1), ("PUBLISH", events, ""), ("SUBSCRIBE", events),
        ("ZADD", index, 1, "a"), ("ZRANGE", user, 0, 0), ("ZSCORE", index, "a"),
        ("ZREM", deadlines, "a"), ("ZRANGEBYSCORE", deadlines, 0, 1),
        ("SET", keys.cache("doctor"), ""),
        ("HSET", limit, "a", ""), ("PEXPIRE", limit, 1),
        ("HINCRBY", keys.usage("all"), "turns", 0), ("SET", keys.usage("batch", "doctor"), "1"),
        ("HMGET", keys.usage("all"), "turns"), ("HMGET", limit, "a"),
        ("EVAL", "return 1", 2, lock, signal), ("TTL", lock), ("EXPIRE", lock, 1),
        ("LPUSH", signal, ""), ("PEXPIRE", signal, 1),
        ("PING",),
        ("PUBLISH", keys.session_updates(), ""), ("SUBSCRIBE", keys.session_updates()),
    ]  # fmt: skip


def rights(store: RedisSessionManager) -> Check:
    """Tell whether the user we connect as may send our commands, on our keys and channels."""
    user = store.config.address.username or "default"
    try:
        user, refused = _ask(store)
    except StoreMisconfigured:  # it may not ask
        refused = _try(store)
        if not refused:
            detail = "scripts, keys and channels work; not each command, as ACL DRYRUN is forbidden"
            return Check("rights", "warn", detail, advice(store, user))
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        return Check("rights", "fail", refused[0] + more, advice(store, user))
    return Check("rights", "ok", f"user {user} may use all our commands, keys and channels")


def advice(store: RedisSessionManager, user: str = "") -> str:
    """Return the line that gives our user all rights that we and this doctor need."""
    config = store.config
    user = user or config.address.username or config.username or "default"
    rule = acl_rule(
        config.namespace, topology=topology(config.address), durability=config.durability
    )
    return redis_cli(config, "ACL", "SETUSER", user, *rule, as_admin=True)


def _ask(store: RedisSessionManager) -> tuple[str, list[str]]:
    """Return our user and what each refused command would be told."""
    refused: list[str] = []
    several: list[Node | None] = [None]
    asked = commands(store.parts.core.keys)
    if store.config.address.service:
        asked.append(ROLE)
    asked += ASKED.get(store.config.durability, ())
    if is_cluster(store):  # each node has users of its own
        several = list(store.parts.core.connections.everywhere)
        asked += in_cluster(store.parts.core.keys)
    user = ""
    for node in several:
        with asking(store, node) as client:
            user = _text(client.execute_command("ACL", "WHOAMI"))
            for command in asked:
                answer = _text(client.execute_command("ACL", "DRYRUN", user, *command))
                if answer != "OK":
                    refused.append(answer if node is None else f"{node}: {answer}")
    return user, list(dict.fromkeys(refused))


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply


class _Listener:
    """Listens for a moment, to nothing."""

    def hear(self, channel: bytes, data: bytes) -> None: ...
    def rouse(self) -> None: ...


def _try(store: RedisSessionManager) -> list[str]:
    """Do to each kind of key and channel what leaves no trace; return the refusals."""
    core, keys = store.parts.core, store.parts.core.keys
    session_id = "doctor-" + new_id()
    lock, signal = keys.of_lock(keys.lock(session_id))
    channel = keys.events(session_id)
    listening, updates = core.connections.listening, keys.session_updates()
    indexes = (keys.sessions(0), keys.deadlines(0), keys.user_sessions(session_id))
    commands: list[Command] = [
        *(("ZADD", index, "XX", 1, session_id) for index in indexes),
        *(("DEL", key) for key in (keys.cache(session_id), keys.rate_limit(session_id, 1000))),
        ("HDEL", keys.usage("user", session_id), "turns"),
        ("EVAL", "return 1", 2, lock, signal),
        (listening.wakes_by, channel, ""),
    ]
    attempts: list[Callable[[], object]] = [
        lambda: inspect_session(core, [session_id]),
        *(partial(core.call, *command) for command in commands),
        partial(_subscribe, listening.of(channel.encode()), channel),
        partial(_subscribe, listening.anywhere, updates),
    ]
    refused: list[str] = []
    for attempt in attempts:
        try:
            with core.connections.translating():
                attempt()
        except StoreMisconfigured as exc:
            if refusal_behind(exc) is not WRONG_TYPE:
                refused.append(exc.cause)
    return list(dict.fromkeys(refused))


def _subscribe(listening: Listening, channel: str) -> None:
    listening.join(_Listener(), [channel.encode()])
