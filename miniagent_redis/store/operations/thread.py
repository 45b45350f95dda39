"""Scripts on the thread: read a piece, append outside a turn, clear, cut off the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...connection.topology import Command
from ...errors import StoreMisconfigured
from ...records.mark import is_mark_of
from ..core import OnSession, StoreCore
from ..keys import GRACE_MS
from .replies import Changed, Unsure


class Piece(NamedTuple):
    """Records of the thread from position ``start`` on, as of ``version``.

    ``head`` is the position of the first one that is kept.
    """

    version: int
    epoch: int
    total: int
    start: int
    records: list[bytes]
    head: int = 0


class Appended(NamedTuple):
    """The messages are in the thread, behind the record that ends in ``before``.

    It is None if that is not known any more.
    """

    version: int
    total: int
    deadline_ms: int
    now_ms: int
    user: bytes
    epoch: int
    before: bytes | None


class Cleared(NamedTuple):
    """So many messages of the thread were removed: all of them, or the last ones."""

    removed: int
    deadline_ms: int
    now_ms: int
    user: bytes


class Running(NamedTuple):
    """A turn is running, and keeps the session for so long unless it renews."""

    left_ms: int


def load_thread(
    on: OnSession, *, epoch: int | None, start: int | None, end: int | None, most: int, mark: bytes
) -> Piece:
    """Read up to ``most`` records: from ``start`` on, or without it those in front of ``end``.

    If ``epoch`` is not the thread's any more, or the record in front of ``start`` is another one
    than that of ``mark`` (unless that is empty), reading begins at the first that is kept.
    """
    found = on("load_thread", _or_none(epoch), _or_none(start), _or_none(end), most, mark)
    return Piece(*found[1:])


def begin_reading(on: OnSession, most: int) -> Piece | None:
    """Read up to ``most`` records from the first on, by LRANGE as ``read_on`` does.

    None if others wrote meanwhile, or if they cannot be read so: then ``load_thread`` tells.
    """
    keys = on.core.keys.of_session(on.session_id)
    page = ("LRANGE", keys[1], 0, most - 1)
    try:
        found = on("begin_reading", behind=[_epoch_and_head(keys), page])
    except StoreMisconfigured:  # something else than a list is there
        return None
    version, epoch, count, head, told, records = found[1:]
    if not _is_of(told, epoch, head) or len(records) != min(most, count - head):
        return None
    return Piece(version, epoch, count, head, records, head)


def read_on(
    core: StoreCore, session_id: str, *, epoch: int, head: int, start: int, stop: int, mark: bytes
) -> list[bytes] | None:
    """Read the records from ``start`` on up to ``stop``, of a thread that was read up to there.

    Not by a script: handing on records takes Lua four times as long as the server itself. What
    stands at a position stays there as long as the thread has the same epoch and head, so these are
    asked for behind the records; and the record in front of them has to be that of ``mark``. None
    if it is not so, or if records are missing.
    """
    keys = core.keys.of_session(session_id)
    page = ("LRANGE", keys[1], start - 1 - head, stop - 1 - head)
    records, told = core.call_many([page, _epoch_and_head(keys)])
    if not _is_of(told, epoch, head) or len(records) != 1 + stop - start:
        return None
    if not is_mark_of(mark, records[0]):
        return None
    return list(records[1:])


class Back(NamedTuple):
    """The records in front of a position, of a thread whose first one is at ``head``."""

    epoch: int
    start: int
    records: list[bytes]
    head: int


def read_back(
    core: StoreCore,
    session_ids: Sequence[str],
    user: bytes,
    *,
    epoch: int | None,
    end: int | None,
    most: int,
    most_bytes: int,
) -> list[Back | None]:
    """Read records of several threads backward, in one round trip.

    From position ``end`` of an epoch, or from the end on. None for a session that is not there, not
    the user's, or damaged.
    """
    several = [core.keys.of_session(session_id) for session_id in session_ids]
    replies = core.read_each(
        "read_back",
        several,
        core.script_now(),
        GRACE_MS,
        user,
        _or_none(epoch),
        _or_none(end),
        most,
        most_bytes,
    )
    return [Back(*found) if status == "ok" else None for status, *found in replies]


def trim_thread(on: OnSession, *, epoch: int, head: int, stay: int, going: int) -> bool:
    """Keep the first ``stay`` records and let go of so many behind them.

    Returns False, with nothing done, if the thread does not begin at ``head`` any more.
    """
    return bool(on("trim_thread", epoch, head, stay, going)[0] == "ok")


def append_messages(
    on: OnSession,
    *,
    operation: str,
    max_bytes: int,
    count: int | None = None,
    epoch: int | None = None,
    messages: Sequence[bytes],
) -> Appended | Changed | Unsure:
    """Append messages outside a turn: to a thread of ``count`` messages only, or this epoch."""
    status, *found = on(
        "append_messages",
        operation,
        max_bytes,
        _or_none(count),
        _or_none(epoch),
        *messages,
        looks_up=True,
    )
    match status:
        case "changed":
            return Changed()
        case "unsure":
            return Unsure(*found)
    return Appended(*found)


def clear_thread(on: OnSession, *, operation: str) -> Cleared:
    """Empty the thread and drop the turn that is open."""
    return Cleared(*on("clear_thread", operation)[1:])


def truncate_thread(
    on: OnSession,
    *,
    operation: str,
    epoch: int | None,
    version: int | None,
    keep: int,
    note: bytes,
    new_epoch: int,
    idle: bool = False,
) -> Cleared | Changed | Running:
    """Remove all but the first ``keep`` messages, of a thread that is still of this version.

    Without epoch and version only a repetition is answered. ``note`` is for watchers. ``idle``: not
    if a turn is open, be it one that was left behind, or waits.
    """
    status, *found = on(
        "truncate_thread",
        operation,
        _or_none(epoch),
        _or_none(version),
        keep,
        note,
        new_epoch,
        "1" if idle else "",
    )
    match status:
        case "changed":
            return Changed()
        case "busy":
            return Running(*found)
    return Cleared(*found)


def _epoch_and_head(keys: Sequence[str]) -> Command:
    return "HMGET", keys[3], "epoch", "head"


def _is_of(told: Sequence[bytes | None], epoch: int, head: int) -> bool:
    """Whether a thread has still this epoch and begins where it did."""
    its_epoch, its_head = told
    return (its_epoch, its_head or b"0") == (b"%d" % epoch, b"%d" % head)


def _or_none(number: int | None) -> int | str:
    return "" if number is None else number
