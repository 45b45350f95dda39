"""What the pages tell of sessions: how they begin, what they took, how they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from ...errors import MiniAgentError, SchemaTooNew, SessionNotFound, StoreUnavailable
from ...models import UsageTotals, WaitingCall
from ...models.message import content_text
from ...records.sealed import EncryptionKeyMissing
from ...session import SessionManager
from ...store.counts import FIELDS, totals
from .conversation import Turn, turns_of
from .words import one_line

_FIRST = 3  # messages among which the first of the user is looked for
_LONGEST_TITLE = 80
_UNREAD = {
    SessionNotFound: "(ended)",
    SchemaTooNew: "(written by a newer version)",
    EncryptionKeyMissing: "(encrypted with a key that is not at hand)",
}


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

    Raises SessionNotFound, RecordUnreadable or StoreUnavailable.
    """
    parts = manager.store.parts
    mark = mark_of(manager, session_id, whose)
    at_end = before is None
    history = manager.get_history(session_id, most, before, user_id=whose, pending=at_end)
    waits: tuple[WaitingCall, ...] = ()
    open_turn = history[-1]["turn_id"] if history and history[-1].get("pending") else ""
    if open_turn and (parked := parts.parking.parked(session_id, user_id=whose)) is not None:
        waits = parked.calls
    first = history[0]["index"] if history else 0
    head = manager.store.session_state(session_id, user_id=whose).head
    older = first if first > head else None
    return Conversation(turns_of(history, waits), older, open_turn, waits, mark)


def mark_of(manager: SessionManager, session_id: str, whose: str | None) -> str:
    """Return how a session stands, in a short text; one round trip."""
    found = manager.store.parts.open_turns.look(session_id, None, whose)
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
        {**each, "title": _title(manager, each, whose), "took": _totals(values)}
        for each, values in zip(listed, counts, strict=True)
    ]


def _totals(values: Sequence[bytes | None]) -> UsageTotals:
    try:
        return totals(
            {name: int(value) for name, value in zip(FIELDS, values, strict=True) if value}
        )
    except ValueError:  # damaged; its own page says so
        return UsageTotals()


def _title(manager: SessionManager, session: Mapping[str, Any], whose: str | None) -> str:
    """Return the session's title, or how the user began."""
    if session["title"]:
        return one_line(session["title"], _LONGEST_TITLE)
    session_id = session["session_id"]
    try:
        messages = manager.get_history(session_id, _FIRST, before=_FIRST, user_id=whose)
    except StoreUnavailable:
        raise
    except MiniAgentError as exc:
        return _UNREAD.get(type(exc), "(cannot be read)")
    said = (content_text(each["content"]) for each in messages if each["role"] == "user")
    return one_line(next(said, ""), _LONGEST_TITLE)
