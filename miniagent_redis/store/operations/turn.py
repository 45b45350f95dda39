"""Scripts of the turn protocol: begin, stage, tell, cancel, commit, replay, abort, resolve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..core import OnSession
from .replies import Superseded, Unsure, Written

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


class Staged(NamedTuple):
    """The steps are kept; ``there`` are those that stood in their place already.

    ``events`` are the ids of the events that tell of them, if they are new.
    """

    there: list[bytes]
    cancel: bytes | None
    events: Sequence[bytes] = ()


class Dropped(NamedTuple):
    """The turn is gone: by this call or not, and whether its counts are counted.

    ``event`` is the id of the event that tells so, empty if it was not by this call. ``stored`` is
    the version in which this holder has stored the turn after all, or 0.
    """

    was_ours: int
    is_counted: int
    event: bytes = b""
    stored: int = 0


BeginReply = Begun | Busy | WaitsItself | Done | Unsure | NothingOpen | Superseded
_BEGIN: dict[str, Callable[..., BeginReply]] = {
    "ok": Begun, "busy": Busy, "done": Done, "unsure": Unsure, "none": NothingOpen,
    "superseded": Superseded, "waiting": WaitsItself,
}  # fmt: skip
ReplayReply = Written | Busy | Unsure | Superseded


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


def stage_step(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    lease_ms: int,
    max_bytes: int,
    after: int,
    messages: Sequence[bytes],
) -> Staged | Superseded:
    """Stage messages behind the first ``after`` of the turn, and renew its lease."""
    status, *found = on("stage_step", turn_id, holder, lease_ms, max_bytes, after, *messages)
    return Superseded() if status == "superseded" else Staged(*found)


def tell_text(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    operation: str,
    shown: bool,
    texts: Sequence[bytes],
) -> Staged | Superseded:
    """Tell watchers pieces of text, which are kept nowhere else; ``shown`` ones of the answer."""
    status, *found = on("tell_text", turn_id, holder, operation, int(shown), *texts)
    return Superseded() if status == "superseded" else Staged([], *found)


def cancel_turn(on: OnSession, *, operation: str, turn: str) -> str:
    """Ask the holder of a turn to end it; return its id, or nothing if it is not open.

    It is the one that was open when that was tried first, if ``turn`` is empty.
    """
    asked: bytes = on("cancel_turn", operation, turn)[1]
    return asked.decode()


def commit_turn(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    max_bytes: int,
    input_tokens: int,
    output_tokens: int,
    tool_calls: int,
    staged: int,
    counts: str,
    messages: Sequence[bytes],
) -> Written | Unsure | Superseded:
    """Move the ``staged`` steps and the messages into the thread and end the turn."""
    status, *found = on(
        "commit_turn",
        turn_id,
        holder,
        max_bytes,
        input_tokens,
        output_tokens,
        tool_calls,
        staged,
        counts,
        *messages,
        looks_up=True,
    )
    match status:
        case "unsure":
            return Unsure(*found)
        case "superseded":
            return Superseded()
    return Written(*found)


def replay_turn(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    max_bytes: int,
    input_tokens: int,
    output_tokens: int,
    tool_calls: int,
    epoch: int,
    searched: int,
    staged: int | None,
    counts: str,
    messages: Sequence[bytes],
) -> ReplayReply:
    """Store a whole turn at the end of the thread, if its history was not cleared since.

    Another holder of the turn is superseded if it has ``staged`` as many messages as the turn had.
    """
    status, *found = on(
        "replay_turn",
        turn_id,
        holder,
        max_bytes,
        input_tokens,
        output_tokens,
        tool_calls,
        epoch,
        searched,
        "" if staged is None else staged,
        counts,
        *messages,
        looks_up=True,
    )
    match status:
        case "busy":
            return Busy(found[0], searched)
        case "unsure":
            return Unsure(*found)
        case "superseded":
            return Superseded()
    return Written(*found)


def abort_turn(
    on: OnSession,
    *,
    turn_id: str,
    holder: str,
    why: bytes,
    counts: str,
    epoch: int = 0,
    version: int = 0,
    began_ms: int | None = None,
) -> Dropped:
    """Drop the open turn and what it staged; count what it took, unless the session is new since.

    ``epoch``, ``version`` and the time are those at which the turn began, for its counts.
    """
    found = on(
        "abort_turn",
        turn_id,
        holder,
        why,
        counts,
        epoch,
        version,
        "" if began_ms is None else began_ms,
    )
    return Dropped(*found[1:])


def resolve_turn(on: OnSession, *, operation: str) -> tuple[str, int, str]:
    """Tell what became of a turn or another operation: committed, open, forgotten or unknown.

    With the version in which it was committed; else that of the session by now. It may be forgotten
    if it was tried so long ago, as far as that is known. Of a turn also which holder committed it.
    """
    _, resolution, version, *by = on("resolve_turn", operation)
    return resolution.decode(), version, by[0].decode() if by else ""
