"""What fsck tells of one fault, as plain data."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Kind = Literal[
    "orphan_entry",
    "not_indexed",
    "dangling_call",
    "unreadable",
    "newer_schema",
    "no_key",
    "wrong_type",
    "leftover",
    "expiry",
    "counter",
    "stuck_turn",
]


@frozen
class Finding:
    """One fault at one key.

    ``repaired`` says that it is mended now; else ``hint`` says what to do. ``session_id`` is None
    for keys that belong to no session.
    """

    kind: Kind
    session_id: str | None
    key: str
    problem: str
    repaired: bool = False
    hint: str = ""


REPAIR = "miniagent-redis doctor --repair"
"""What to type to have it mended."""
