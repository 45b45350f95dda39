"""Scripts of the sweep: claim what is due, read and remove what is over, prune indexes."""

from __future__ import annotations

from typing import NamedTuple

from ..core import OnSession, StoreCore
from .replies import Alive, Gone


class Claimed(NamedTuple):
    """What is ours to end for a while: each a session id and the score that it had."""

    now_ms: int
    score: bytes
    due: list[tuple[bytes, bytes]]


class Leftovers(NamedTuple):
    """What an expired session left; ``values`` are its user, agent, creation and count."""

    deadline_ms: int
    values: list[bytes]
    records: list[bytes]


class Removed(NamedTuple):
    """Nothing of the session is left, and it was told."""


def claim_due(core: StoreCore, index: str, *, hold_ms: int, most: int) -> Claimed:
    """Claim up to ``most`` sessions of one shard whose deadline has passed."""
    return Claimed(*core.run("claim_due", [index], core.script_now(), hold_ms, most)[1:])


def read_expired(on: OnSession, *, start: int, most: int) -> Leftovers | Alive | Gone:
    """Read the counters of a session that is over, and a piece of its thread."""
    status, *found = on("read_expired", start, most)
    if status == "ok":
        return Leftovers(*found)
    return Alive(*found) if status == "alive" else Gone()


def expire_session(
    on: OnSession, *, expected: int | None, channel: str, note: str
) -> Removed | Alive | Gone:
    """Remove what is left of a session that had the deadline ``expected``, and publish the note."""
    status, *found = on("expire_session", "" if expected is None else expected, channel, note)
    if status == "ok":
        return Removed()
    return Alive(*found) if status == "alive" else Gone()


def prune_entry(core: StoreCore, index: str, *, session_id: bytes, score: str | bytes) -> int:
    """Take an entry out of an index unless it has another score by now; return how many."""
    return int(core.run("prune_entry", [index], session_id, score)[1])


def cap_lock(core: StoreCore, lock: str, *, holder: bytes, ttl_ms: int) -> None:
    """Let the lock of that holder end within its ttl, if it would end later."""
    core.run("cap_lock", [lock], holder, ttl_ms)
