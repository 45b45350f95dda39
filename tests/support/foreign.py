"""Values of any type, put where the store expects its own; and the keys of the session "s"."""

from __future__ import annotations

import redis

OWN = {
    "session:{s}": "string",
    "thread:{s}": "list",
    "turn:{s}": "list",
    "metadata:{s}": "hash",
    "ops:{s}": "hash",
    "events:{s}": "stream",
}
KEYS = list(OWN)
KINDS = ("string", "list", "hash", "set", "zset", "stream")


def put(client: redis.Redis, key: str, kind: str) -> None:
    """Put a value of the kind in place of what is there."""
    client.delete(key)
    if kind == "string":
        client.set(key, "x")
    elif kind == "list":
        client.rpush(key, "x")
    elif kind == "hash":
        client.hset(key, "a", "x")
    elif kind == "set":
        client.sadd(key, "x")
    elif kind == "zset":
        client.zadd(key, {"x": 1})
    else:
        client.xadd(key, {"a": "x"})
