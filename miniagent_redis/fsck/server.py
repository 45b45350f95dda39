"""How fsck asks the server: a few commands that may be repeated, with the store's own errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..connection import ReplyLost
from ..keys import GRACE_MS
from ..store.manager import RedisSessionManager

_PAGE = 1000


def call_many(store: RedisSessionManager, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """Send commands in one round trip. Raises StoreUnavailable or StoreMisconfigured."""
    try:
        return list(store.connections.call_many(commands)) if commands else []
    except ReplyLost as exc:
        raise store.connections.unavailable(str(exc)) from exc


def call(store: RedisSessionManager, *command: Any) -> Any:
    """Send one command."""
    return call_many(store, [command])[0]


def run(store: RedisSessionManager, name: str, session_id: str, *args: str | bytes | int) -> Any:
    """Run a session's script for whatever user; return its reply from the status on."""
    now = store.clock.server_now_ms()
    head = ("" if now is None else now, GRACE_MS, "")
    try:
        return store.scripts.run(name, store.keys.of_session(session_id), [*head, *args])
    except ReplyLost as exc:
        raise store.connections.unavailable(str(exc)) from exc


def inspect(store: RedisSessionManager, session_id: str) -> list[Any]:
    """Run ``inspect_session``, which takes a session in whatever state it is."""
    now = store.clock.server_now_ms()
    keys = store.keys.of_session(session_id)
    try:
        return store.scripts.run("inspect_session", keys, ["" if now is None else now])
    except ReplyLost as exc:
        raise store.connections.unavailable(str(exc)) from exc


def scan(store: RedisSessionManager, pattern: str) -> Iterator[list[bytes]]:
    """Yield the names of the keys that match, in pages. A name may come twice."""
    cursor: Any = 0
    while True:
        cursor, names = call(store, "SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
        yield names
        if int(cursor) == 0:
            return


def scan_members(store: RedisSessionManager, key: str) -> Iterator[list[tuple[bytes, float]]]:
    """Yield the members of a sorted set with their scores, in pages. One may come twice."""
    cursor: Any = 0
    while True:
        cursor, flat = call(store, "ZSCAN", key, cursor, "COUNT", _PAGE)
        if flat and isinstance(flat[0], (list, tuple)):  # fakeredis
            yield [(member, float(score)) for member, score in flat]
        else:
            yield [(m, float(s)) for m, s in zip(flat[::2], flat[1::2], strict=True)]
        if int(cursor) == 0:
            return
