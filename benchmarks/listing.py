"""Listing one user's newest sessions among very many, and how the many are made quickly."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

from miniagent_redis import RedisSessionManager
from tests.support.proxy import Proxy

from .bench import Bench, config
from .commands import Command, timeless
from .measure import alternate, ratio, ready
from .table import Row, duration

_OF_EACH_USER = 100
_WANTED = 20
_USER = "user-7"
_FIELDS = (
    "user", "agent", "created_at", "last_activity", "deadline", "message_count", "turns", "turn",
)  # fmt: skip


def rows(bench: Bench) -> Iterator[Row]:
    """Measure the first page of one user's sessions."""
    users = bench.times(1000, 20)
    with _pipelined(bench.store) as flush:
        for number in range(users * _OF_EACH_USER):
            user = f"user-{number % users}"
            bench.store.create_session(f"list-{number}", user_id=user)
            if number % 500 == 499:
                flush()
    with (
        Proxy(bench.server.socket) as proxy,
        RedisSessionManager(config(proxy.url)) as store,
    ):
        proxy.take()
        assert len(store.list_sessions(_USER, _WANTED)) == _WANTED
        trips = proxy.take().round_trips
    bench.store.parts.index.flush()
    taken = alternate(
        {
            "ours": ready(lambda: bench.store.list_sessions(_USER, _WANTED)),
            "raw": ready(lambda: _raw(bench)),
        },
        bench.times(200, 5),
    )
    total = f"{users * _OF_EACH_USER:,} sessions of {users:,} users"
    yield Row(
        f"list the {_WANTED} newest sessions of one user, among {total}",
        duration(median(taken["ours"])),
        duration(median(taken["raw"])),
        ratio(taken["ours"], taken["raw"]),
    )
    yield Row("round trips of that listing", str(trips), target="2")


def _raw(bench: Bench) -> list[Any]:
    """Ask for the same with redis-py: the index, then a pipeline."""
    client: Any = bench.raw
    keys = bench.store.parts.core.keys
    newest = client.zrange(keys.user_sessions(_USER), 0, _WANTED - 1, desc=True, withscores=True)
    pipe = client.pipeline(transaction=False)
    for raw_id, _ in newest:
        session_id = raw_id.decode()
        pipe.get(keys.session(session_id))
        pipe.hmget(keys.metadata(session_id), _FIELDS)
    replies: list[Any] = pipe.execute()
    return replies


@contextmanager
def _pipelined(store: RedisSessionManager) -> Iterator[Any]:
    """Hold back what the store sends, until the yielded function is called.

    Waiting for each answer, 100,000 sessions would take most of the time of all the measurements.
    """
    pipe: Any = store.client.pipeline(transaction=False)
    connections: Any = store.parts.core.connections

    def exchange(commands: Sequence[Command], nonce: bytes | None = None) -> list[Any]:
        replies: list[Any] = []
        for command in commands:
            if command == ("TIME",):
                replies.append([int(time.time()), 0])
                continue
            pipe.execute_command(*timeless(command, nonce))
            replies.append([nonce, b"ok", 1, 0])
        return replies

    def flush() -> None:
        for reply in pipe.execute():
            assert isinstance(reply, int) or reply[1] == b"ok"

    connections.exchange = exchange
    try:
        yield flush
    finally:
        del connections.exchange
        flush()
