"""Scripts for the check of the data: look at a session in whatever state, and mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core import OnSession, StoreCore


class Inspected(NamedTuple):
    """All that is stored of a session but its thread; expiries in ms, -1 without, -2 no key."""

    now_ms: int
    types: list[bytes]
    expiries: list[int]
    document: bytes
    metadata: list[bytes]
    length: int
    staged: list[bytes]


def inspect_session(core: StoreCore, session_ids: Sequence[str]) -> list[Inspected]:
    """Read what there is of each, also where something else is in the place of a key."""
    several = [core.keys.of_session(session_id) for session_id in session_ids]
    replies = core.read_each("inspect_session", several, core.script_now())
    return [Inspected(*reply[1:]) for reply in replies]


def repair_counters(
    on: OnSession, *, operation: str, epoch: bytes, version: bytes, count: int, size: int
) -> bool:
    """Set the counters to what was counted; return False if the thread has changed since."""
    return bool(on("repair_counters", operation, epoch, version, count, size)[1])


def repair_expiry(on: OnSession) -> int:
    """Give the deadline to keys that would stay for ever or go too early; return how many."""
    return int(on("repair_expiry")[1])
