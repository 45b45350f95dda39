"""Scripts of the open turn: stage, tell, cancel, commit, replay, abort, resolve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core import OnSession
from .begin import Busy
from .replies import Superseded, Unsure, Written


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


ReplayReply = Written | Busy | Unsure | Superseded


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
