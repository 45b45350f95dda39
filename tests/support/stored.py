"""Looking behind the store: everything that is kept, and every command that was sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, cast

import redis

Dump = dict[str, tuple[str, Any, int]]
_END = "end of what is watched"


def dump(client: redis.Redis) -> Dump:
    """Return type, value and expiry time (ms) of every key."""
    commands: Any = client
    read = {
        "string": lambda key: commands.get(key),
        "list": lambda key: commands.lrange(key, 0, -1),
        "hash": lambda key: commands.hgetall(key),
        "set": lambda key: commands.smembers(key),
        "zset": lambda key: commands.zrange(key, 0, -1, withscores=True),
        "stream": lambda key: commands.xrange(key),
    }
    found: Dump = {}
    for key in sorted(commands.scan_iter(count=1000)):
        kind = commands.type(key).decode()
        found[key.decode()] = kind, read[kind](key), commands.pexpiretime(key)
    return found


@contextlib.contextmanager
def watched(client: redis.Redis) -> Iterator[list[str]]:
    """Yield a list that holds, after the block, each command that a real server was sent.

    Not what scripts do inside, and not what connecting sends.
    """
    sent: list[str] = []
    with client.monitor() as monitor:
        yield sent
        client.echo(_END)
        for entry in cast(Iterator[dict[str, Any]], monitor.listen()):
            if _END in entry["command"]:
                return
            name = entry["command"].partition(" ")[0].upper()
            if entry["client_type"] != "lua" and name not in ("HELLO", "CLIENT", "SELECT", "PING"):
                sent.append(entry["command"])
