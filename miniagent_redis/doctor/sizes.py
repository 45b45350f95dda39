"""The check of the biggest sessions: how much of the server's memory each takes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from ..store.keys import SHARDS, read_member
from ..store.manager import RedisSessionManager
from .check import Check
from .fsck import Tell
from .fsck.server import scan_members
from .server import size

_SHOWN = 3
_TOGETHER = 100
_BESIDES = 352 * 1024  # bytes that a session may take beside twice its greatest size


def sessions(store: RedisSessionManager, tell: Tell = lambda done: None) -> Check:
    """Tell how many sessions there are, and which take most memory.

    Asks for the memory of each, a hundred at a time. Raises StoreUnavailable or StoreMisconfigured.
    """
    count = 0
    biggest: list[tuple[int, str]] = []
    for ids in _pages(store):
        found = [(took, one) for took, one in zip(_sizes(store, ids), ids, strict=True) if took]
        count += len(found)
        biggest = heapq.nlargest(_SHOWN, [*biggest, *found])
        tell(f"{count:,} sessions measured")
    if not biggest:
        return Check("sessions", "ok", "none")
    shown = ", ".join(f"{one}: {_size(took)}" for took, one in biggest)
    detail = f"{count:,} alive, the biggest {shown}"
    limit = 2 * store.config.max_session_size + _BESIDES
    if biggest[0][0] > limit:
        fix = "end it, or clear its history; what made it so large is in its thread and its events"
        return Check("sessions", "warn", f"{detail}: more than it should take", fix)
    return Check("sessions", "ok", detail)


def _size(count: int) -> str:
    return f"{count / 1024:.0f} kB" if count < 2**20 else size(count)


def _pages(store: RedisSessionManager) -> Iterator[list[str]]:
    core = store.parts.core
    for shard in range(SHARDS):
        for page in scan_members(core, core.keys.sessions(shard)):
            ids = [read_member(member) for member, _ in page]
            for start in range(0, len(ids), _TOGETHER):
                yield ids[start : start + _TOGETHER]


def _sizes(store: RedisSessionManager, ids: list[str]) -> list[int]:
    core = store.parts.core
    keys = [core.keys.of_session(one) for one in ids]
    replies = iter(core.call_many([("MEMORY", "USAGE", key) for each in keys for key in each]))
    sizes = [[next(replies) or 0 for _ in each] for each in keys]
    # Without a document it is over, and goes by itself.
    return [sum(each) if each[0] else 0 for each in sizes]
