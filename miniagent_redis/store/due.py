"""Which shards of an index have entries that are due: one round trip, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .core import StoreCore
from .keys import SHARDS


def due_shards(core: StoreCore, key: Callable[[int], str]) -> list[int]:
    """Return the shards whose first entry has a score that has passed, by the server's clock."""
    commands: list[tuple[Any, ...]] = [("TIME",)]
    for shard in range(SHARDS):
        commands.append(("ZRANGE", key(shard), 0, 0, "WITHSCORES"))
    time, *replies = core.call_many(commands)
    now = core.now_ms(time)
    return [shard for shard, reply in enumerate(replies) if _first_score(reply) <= now]


def _first_score(reply: list[Any]) -> float:
    """Read one entry WITHSCORES, a list of pairs in RESP3; infinity if there is none."""
    if not reply:
        return float("inf")
    return float(reply[0][1] if isinstance(reply[0], list) else reply[1])
