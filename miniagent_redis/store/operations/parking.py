"""Scripts of turns that wait: park, answer, read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core import OnSession, StoreCore
from .replies import Superseded


class Parked(NamedTuple):
    """The turn waits, its session lives until the deadline; ``event`` is the id of its event."""

    version: int
    deadline_ms: int
    now_ms: int
    user: bytes
    event: bytes


class Cancelled(NamedTuple):
    """Somebody has asked for the turn's end: it is not parked."""


class Answered(NamedTuple):
    """The answers are there; ``waits`` is what it still waits for, as ``park_turn`` has it."""

    waits: bytes


class Waits(NamedTuple):
    """A turn that waits for calls, as ``park_turn`` has them, with its messages and its owner."""

    turn_id: bytes
    waits: bytes
    staged: list[bytes]
    owner: bytes


class Over(NamedTuple):
    """The turn is not the open one, or was never parked."""


def park_turn(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    staged: int,
    waiting_ms: int,
    waits: str,
    told: bytes,
) -> Parked | Superseded | Cancelled:
    """Leave the open turn to whoever answers.

    ``waits`` is, for each call, ' a', ' r' or ' i' and its digest. The session lives for
    ``waiting_ms`` at the least; ``told`` is the record for watchers.
    """
    status, *found = on("park_turn", turn_id, holder, staged, waiting_ms, waits, told)
    match status:
        case "superseded":
            return Superseded()
        case "cancelled":
            return Cancelled()
    return Parked(*found)


def answer_turn(
    on: OnSession, *, turn_id: str, max_bytes: int, answers: Sequence[str | bytes]
) -> Answered | Over:
    """Answer calls: of each its digest, and a message, or nothing, which approves it."""
    status, *found = on("answer_turn", turn_id, max_bytes, *answers)
    return Over() if status == "over" else Answered(*found)


def read_waiting(core: StoreCore, session_ids: Sequence[str]) -> list[Waits | None]:
    """Read what the turns of several sessions wait for, in one round trip; None if one does not."""
    several = [core.keys.of_session(session_id) for session_id in session_ids]
    replies = core.read_each("read_waiting", several, core.script_now())
    return [Waits(*found) if status == "ok" else None for status, *found in replies]
