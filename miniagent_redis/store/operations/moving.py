"""Scripts that move a session to another id, which may be in another slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core import OnSession
from .replies import Changed
from .session import Exists
from .thread import Running


class Whole(NamedTuple):
    """All that is stored of a session but its thread and events; ``seal`` tells when it changes."""

    seal: bytes
    document: bytes
    metadata: list[bytes]
    ops: list[bytes]
    staged: list[bytes]


def read_session(on: OnSession) -> Whole | Running:
    """Read all of a session on which no turn is running."""
    status, *found = on("read_session")
    return Running(*found) if status == "busy" else Whole(*found)


def move_records(
    on: OnSession,
    *,
    operation: str,
    replaces: str,
    at: int,
    hold_ms: int,
    records: Sequence[bytes],
) -> Exists | Changed | None:
    """Put records behind the first ``at`` where a session is to be; None if that is done."""
    status = on("move_records", operation, replaces, at, hold_ms, *records)[0]
    match status:
        case "exists":
            return Exists()
        case "changed":
            return Changed()
    return None


def move_session(
    on: OnSession,
    *,
    operation: str,
    count: int,
    staged: int,
    hold_ms: int,
    channel: str,
    note: str,
    document: bytes,
    fields: Sequence[bytes],
) -> Changed | None:
    """Make a session of the records that were put there; None if it is done.

    ``fields`` are number of the key, name and value, one after the other.
    """
    status = on(
        "move_session", operation, count, staged, hold_ms, channel, note, document, *fields
    )[0]
    return Changed() if status == "changed" else None
