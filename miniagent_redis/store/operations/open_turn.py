"""Scripts on turns that somebody looks for: how one stands, and which are to be finished."""

from __future__ import annotations

from typing import NamedTuple

from ..core import OnSession, StoreCore


class TurnRead(NamedTuple):
    """How a turn stands. ``open_turn`` is the one that is open, or empty.

    ``left_ms`` is of its lease, below 0 if that is over; ``named`` is "=" if a caller gave its id;
    ``waits`` is what it waits for, as ``park_turn`` has it. ``staged`` are messages of the turn
    asked for, if that is the open one; ``committed`` is the version of its commit, 0 if that is
    not remembered; ``first`` and ``last`` are the ids of the events it began and ended with, or
    empty.
    """

    version: int
    open_turn: bytes
    left_ms: int
    named: bytes
    waits: bytes
    staged: list[bytes]
    committed: int
    first: bytes
    last: bytes
    agent: bytes
    owner: bytes


def read_turn(on: OnSession, *, turn_id: str, events: int) -> TurnRead:
    """Tell how a turn stands, or the open one if the id is ''; looks through so many events."""
    return TurnRead(*on("read_turn", turn_id, events)[1:])


def ask_recovery(core: StoreCore, index: str, *, after_ms: int, session_id: bytes) -> None:
    """Enter a session among those to be looked after, so many ms from now."""
    core.run("ask_recovery", [index], core.script_now(), after_ms, session_id)
