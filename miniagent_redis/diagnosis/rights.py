"""May our user do what the library does? Asked with ACL DRYRUN, else tried without a trace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from ..connection import ReplyLost
from ..errors import StoreMisconfigured
from ..keys import Keys
from ..models import new_id
from ..store.manager import RedisSessionManager
from .check import Check

Command = tuple[str | int, ...]


def commands(keys: Keys) -> list[Command]:
    """Return each command that the library and its scripts send, on keys like those it uses."""
    session, thread, _, metadata, ops, events = keys.of_session("doctor")
    index, deadlines, user = keys.sessions(0), keys.deadlines(0), keys.user_sessions("doctor")
    lock = keys.lock("doctor")
    return [
        ("EVALSHA", "0" * 40, 1, session),
        ("EVAL", "return 1", 1, session),
        ("GET", session), ("SET", session, ""), ("EXISTS", session), ("TYPE", session),
        ("DEL", session), ("PEXPIREAT", session, 1), ("PEXPIRETIME", session), ("TIME",),
        ("RPUSH", thread, ""), ("LRANGE", thread, 0, 0), ("LLEN", thread),
        ("HSET", metadata, "a", ""), ("HGET", metadata, "a"), ("HMGET", metadata, "a"),
        ("HDEL", metadata, "a"), ("HGETALL", metadata), ("HVALS", ops),
        ("XADD", events, "*", "a", ""), ("XRANGE", events, "-", "+"),
        ("XREVRANGE", events, "+", "-"), ("XREAD", "STREAMS", events, "0"),
        ("HINCRBY", metadata, "a", 1), ("PUBLISH", events, ""), ("SUBSCRIBE", events),
        ("ZADD", index, 1, "a"), ("ZRANGE", user, 0, 0), ("ZSCORE", index, "a"),
        ("ZREM", deadlines, "a"), ("ZRANGEBYSCORE", deadlines, 0, 1),
        ("SET", keys.cache("doctor"), ""),
        ("HSET", keys.rate_limit("doctor"), "a", ""), ("PEXPIRE", keys.rate_limit("doctor"), 1),
        ("HINCRBY", keys.usage("all"), "turns", 0), ("SET", keys.usage("batch", "doctor"), "1"),
        ("HMGET", keys.usage("all"), "turns"), ("HMGET", keys.rate_limit("doctor"), "a"),
        ("EVAL", "return 1", 2, f"lock:{lock}", f"lock-signal:{lock}"),
        ("LPUSH", f"lock-signal:{lock}", ""),
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
            return Check("rights", "warn", detail, _fix(store, user))
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        return Check("rights", "fail", refused[0] + more, _fix(store, user))
    return Check("rights", "ok", f"user {user} may use all our commands, keys and channels")


def _fix(store: RedisSessionManager, user: str) -> str:
    ns = store.keys.ns
    keys = f"~{ns}* ~lock:{ns}* ~lock-signal:{ns}*" if ns else "~*"
    allowed = "+@read +@write +@pubsub +@scripting +time"
    return f"ACL SETUSER {user} {keys} &{ns}* {allowed}"


def _ask(store: RedisSessionManager) -> tuple[str, list[str]]:
    """Return our user and what each refused command would be told."""
    client: Any = store.client
    refused: list[str] = []
    with store.connections.translating():
        user = _text(client.execute_command("ACL", "WHOAMI"))
        for command in commands(store.keys):
            answer = _text(client.execute_command("ACL", "DRYRUN", user, *command))
            if answer != "OK":
                refused.append(answer)
    return user, list(dict.fromkeys(refused))


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply


def _try(store: RedisSessionManager) -> list[str]:
    """Do what leaves no trace; return the refusals."""
    keys = store.keys.of_session("doctor-" + new_id())

    def subscribe() -> None:
        with closing(store.connections.listener(0.5)) as listener:
            listener.subscribe(keys[5])
            listener.get_message(timeout=0.5)

    attempts: list[Callable[[], object]] = [
        lambda: store.scripts.run("inspect_session", keys, [""]),
        lambda: store.connections.call("PUBLISH", keys[5], ""),
        subscribe,
    ]
    refused: list[str] = []
    for attempt in attempts:
        try:
            with store.connections.translating():
                attempt()
        except StoreMisconfigured as exc:
            refused.append(exc.cause)
        except ReplyLost as exc:
            raise store.connections.unavailable(str(exc)) from exc
    return refused
