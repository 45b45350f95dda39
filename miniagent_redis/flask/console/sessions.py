"""What the pages tell of sessions: how they begin, what they took, how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from ...errors import RecordUnreadable, SchemaTooNew, StoreMisconfigured
from ...models import Message, UsageTotals, WaitingCall
from ...session import SessionManager
from ...session.headings import heading_of
from ...store.counts import FIELDS, totals
from ...store.open_turns import FoundTurn
from .conversation import AS_STORED, Turn, turns_of
from .raw import as_text
from .words import one_line

UNREADABLE = (RecordUnreadable, SchemaTooNew, StoreMisconfigured)
"""Errors of what is stored, which can be something else's, behind which the rest can be shown."""
_LONGEST_TITLE = 80


@frozen
class Conversation:
    """A page of a session: its turns, and the one that is open, if any, which ``waits`` or runs."""

    turns: list[Turn]
    older: int | None
    """Position of the first message that is shown, if there are some in front of it."""
    open_turn: str
    waits: tuple[WaitingCall, ...]
    mark: str
    """Changes whenever the page would look different, but for an answer that is being given."""


def conversation(
    manager: SessionManager,
    session_id: str,
    whose: str | None,
    most: int,
    before: int | None = None,
) -> Conversation:
    """Return the last ``most`` messages in front of ``before``, and the open turn behind the end.

    What cannot be read is there as it is stored. Raises SessionNotFound, StoreUnavailable, or
    RecordUnreadable where not even the session's document can be read.
    """
    parts = manager.store.parts
    head = manager.store.session_state(session_id, user_id=whose).head
    staged: tuple[Message, ...] = ()
    mark, open_turn, broken = "", "", list[Mapping[str, Any]]()
    try:  # in front of the thread, so that the mark is never of more than is shown
        found = parts.open_turns.look(session_id, None, whose)
        mark = _mark(found)
        if before is None and found.is_open:
            staged, open_turn = found.staged, found.turn_id
    except UNREADABLE as exc:
        broken = as_stored(manager, session_id, "turn", most, str(exc.cause or exc))
    history, end = _history(manager, session_id, whose, most, before)
    here = {message["id"] for message in history if "id" in message}
    pending = [
        {"index": end + number, **message.to_dict(), "pending": True}
        for number, message in enumerate(staged)
        if message.id not in here
    ]
    if not pending:
        open_turn = ""
    waits: tuple[WaitingCall, ...] = ()
    if open_turn and (parked := parts.parking.parked(session_id, user_id=whose)) is not None:
        waits = parked.calls
    first = history[0]["index"] if history else 0
    older = first if first > head else None
    told = [*history, *pending, *(broken if before is None else ())]
    return Conversation(turns_of(told, waits), older, open_turn, waits, mark)


def _history(
    manager: SessionManager, session_id: str, whose: str | None, most: int, before: int | None
) -> tuple[list[Mapping[str, Any]], int]:
    """Return messages, and records that cannot be read, in their order; and the thread's length."""
    try:
        found = manager.store.load_tail(session_id, most, before=before, user_id=whose)
    except UNREADABLE as exc:
        return as_stored(manager, session_id, "thread", most, str(exc.cause or exc)), 0
    history: list[Mapping[str, Any]] = [
        {"index": index, **message.to_dict()}
        for index, message in zip(found.indexes, found.messages, strict=True)
    ]
    history += [
        {"index": one.index, "role": AS_STORED, "content": as_text(one.raw), "why": one.reason}
        for one in found.unreadable
    ]
    return sorted(history, key=lambda one: int(one["index"])), found.count


def as_stored(
    manager: SessionManager, session_id: str, what: str, most: int, why: str
) -> list[Mapping[str, Any]]:
    """Return the last ``most`` records of a list that cannot be read as a whole, as stored."""
    core = manager.store.parts.core
    key = core.keys.of_session(session_id)[1 if what == "thread" else 2]
    return [
        {"index": number, "role": AS_STORED, "content": as_text(raw), "why": why}
        for number, raw in enumerate(core.call("LRANGE", key, -most, -1))
    ]


def mark_of(manager: SessionManager, session_id: str, whose: str | None) -> str:
    """Return how a session stands, in a short text; "" if it cannot be read. One round trip."""
    try:
        return _mark(manager.store.parts.open_turns.look(session_id, None, whose))
    except UNREADABLE:
        return ""


def _mark(found: FoundTurn) -> str:
    if not found.is_open:
        return str(found.version)
    kind = "waits" if found.is_waiting else "runs"
    return f"{found.version}.{len(found.staged)}.{kind}.{found.turn_id}"


def titled(
    manager: SessionManager, listed: Sequence[Mapping[str, Any]], whose: str | None
) -> list[dict[str, Any]]:
    """Return sessions as they were listed, each with its ``title`` and what it ``took``."""
    core = manager.store.parts.core
    counts = core.call_many(
        [("HMGET", core.keys.metadata(each["session_id"]), *FIELDS) for each in listed]
    )
    return [
        {
            **each,
            "title": one_line(heading_of(manager, each, whose), _LONGEST_TITLE),
            "took": _totals(values),
        }
        for each, values in zip(listed, counts, strict=True)
    ]


def _totals(values: Sequence[bytes | None]) -> UsageTotals:
    try:
        return totals(
            {name: int(value) for name, value in zip(FIELDS, values, strict=True) if value}
        )
    except ValueError:  # damaged; its own page says so
        return UsageTotals()
