"""The script that reads a session's events."""

from __future__ import annotations

from typing import NamedTuple

from ..core import OnSession


class Found(NamedTuple):
    """One look at the stream; times in ms. ``last`` is the number of the session's last event.

    ``more``: whether there may be others behind these. An entry is an id, its fields, and the
    record of the message that they point to: empty if that is gone.
    """

    now_ms: int
    made_ms: int
    deadline_ms: int
    last: int
    more: int
    entries: list[tuple[bytes, list[bytes], bytes]]


def read_events(on: OnSession, *, first: str, most: int, max_bytes: int) -> Found:
    """Read up to ``most`` events from the id ``first`` on, or the last one only if it is ''.

    They have ``max_bytes`` at the most, unless the first one alone is larger.
    """
    return Found(*on("read_events", first, most, max_bytes)[1:])
