"""Scripts that begin a turn: open one, take over an abandoned one, give up a place in the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..core import OnSession
from .replies import Superseded, Unsure

NAMED = "="
"""In front of a version: the turn's id is a caller's, who may come again with it much later."""
INTERRUPT = "interrupt"
"""In place of tickets: who works on the session loses it, and nobody comes before us."""
END = "end"
"""The same; but a turn in which something was done, or shown, is taken over, cancelled. Behind it
stands the turn of which the caller knows that something was shown."""


class Begun(NamedTuple):
    """The turn is open and ours: the one asked for, or an abandoned one with its staged steps.

    ``event`` is the id of the event that tells so, empty if an earlier try did. ``takeovers`` is
    how often the turn was taken over by now, ``head`` the position of the first record there is.
    ``approved`` are calls that were approved while it was parked, behind who could start
    them first.
    """

    turn_id: bytes
    version: int
    epoch: int
    total: int
    start: int
    records: list[bytes]
    staged: list[bytes]
    owner: bytes
    event: bytes
    takeovers: int
    head: int = 0
    approved: bytes = b""


class Busy(NamedTuple):
    """Another holder works on the session, or comes before us: for so long unless it renews.

    ``same`` is 1 if what it works on is the very turn that is asked for.
    """

    left_ms: int
    version: int
    same: int = 0


class WaitsItself(NamedTuple):
    """The open turn is parked: what it waits for, as ``park_turn`` has it, and its messages."""

    turn_id: bytes
    waits: bytes
    staged: list[bytes]


class Done(NamedTuple):
    """The turn was committed before, with this version."""

    version: int


class NothingOpen(NamedTuple):
    """There is no turn to take over."""


BeginReply = Begun | Busy | WaitsItself | Done | Unsure | NothingOpen | Superseded
_BEGIN: dict[str, Callable[..., BeginReply]] = {
    "ok": Begun, "busy": Busy, "done": Done, "unsure": Unsure, "none": NothingOpen,
    "superseded": Superseded, "waiting": WaitsItself,
}  # fmt: skip


def begin_turn(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    lease_ms: int,
    tickets: str,
    max_bytes: int,
    epoch: int | None,
    count: int,
    mark: bytes,
    most: int,
    searched: str,
    message: bytes | None,
) -> BeginReply:
    """Open a turn with the user's message, or take over an abandoned one.

    Without a message only the latter. ``tickets`` are those of who waits for the session in this
    process, the caller's own first; empty, to be told Busy without a place in the queue; INTERRUPT
    or END.
    ``mark`` is that of the last record known, empty if there is none. ``searched`` is up to which
    version the turn is known not to be in the thread, if somebody has looked, with NAMED in front
    if that is so; the id of one with an empty text is surely new.
    """
    status, *found = on(
        "begin_turn",
        turn_id,
        holder,
        lease_ms,
        tickets,
        max_bytes,
        "" if epoch is None else epoch,
        count,
        mark,
        most,
        searched,
        b"" if message is None else message,
        looks_up=True,
    )
    return _BEGIN[status](*found)


def leave_queue(on: OnSession, *, ticket: str) -> bool:
    """Give up a place among those who wait for the session; return whether there was one."""
    return bool(on("leave_queue", ticket)[1])
