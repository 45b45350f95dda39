"""What several scripts answer alike, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple


class Superseded(NamedTuple):
    """The turn is not, or not any more, the caller's to work on."""


class Written(NamedTuple):
    """The thread has grown, now or by an earlier try of the same operation."""

    version: int
    total: int
    deadline_ms: int
    now_ms: int
    user: bytes
    event: bytes = b""
    """The id of the turn's last event, if it was told now."""


class Renewed(NamedTuple):
    """The session goes on until its new deadline."""

    version: int
    deadline_ms: int
    now_ms: int
    user: bytes


class Unsure(NamedTuple):
    """So many operations were since that the thread has to be searched for this one."""

    version: int


class Changed(NamedTuple):
    """The thread is not as it was looked at; nothing was done."""


class Alive(NamedTuple):
    """The session has not expired, or is another one by now."""

    deadline_ms: int


class Gone(NamedTuple):
    """There is nothing left of the session."""


def pairs_of(reply: Any) -> Sequence[tuple[bytes, bytes]]:
    """Read a hash, or the fields of a stream's entry: a map in RESP3, else a flat list."""
    if isinstance(reply, dict):
        return list(reply.items())
    return list(zip(reply[::2], reply[1::2], strict=True))
