"""A session as a file: whole, or what can be read of it, and what cannot as it is stored."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from ...records.frame import stamped
from ...records.messages import message_to_data
from ...session import SessionManager
from .raw import as_text
from .sessions import UNREADABLE, as_stored

Json = dict[str, Any]
_PAGE = 500  # messages
_MOST = 1_000_000  # records of a thread whose own counts are wrong


def exported(manager: SessionManager, session_id: str, whose: str | None) -> list[Json]:
    """Return what ``export_thread`` does; where it cannot be, what of the messages can be read.

    The header of that has ``whole`` False, and ``why``. A record that cannot be read stands in its
    place, with ``kind`` "unreadable", ``index``, ``why`` and what is ``stored``. Raises
    SessionNotFound, StoreUnavailable, or one of UNREADABLE where the session itself cannot be read.
    """
    try:
        return manager.store.export_thread(session_id, user_id=whose)
    except UNREADABLE as exc:
        why = str(exc.cause or exc)
    state = manager.store.session_state(session_id, user_id=whose)
    header = {"kind": "thread", **asdict(state, recurse=False), "whole": False, "why": why}
    try:
        lines = _readable(manager, session_id, whose, state.head)
    except UNREADABLE as exc:  # the list as such: all its records are told as they are
        found = as_stored(manager, session_id, "thread", _MOST, str(exc.cause or exc))
        lines = [_unreadable(one["index"], one["why"], one["content"]) for one in found]
    return [stamped(header), *lines]


def _readable(manager: SessionManager, session_id: str, whose: str | None, head: int) -> list[Json]:
    lines: dict[int, Json] = {}
    before: int | None = None
    while before is None or before > head:
        found = manager.store.load_tail(session_id, _PAGE, before=before, user_id=whose)
        for index, message in zip(found.indexes, found.messages, strict=True):
            lines[index] = stamped(message_to_data(message))
        for one in found.unreadable:
            lines[one.index] = _unreadable(one.index, one.reason, as_text(one.raw, len(one.raw)))
        if before == found.start:
            break
        before = found.start
    return [line for _, line in sorted(lines.items())]


def _unreadable(index: int, why: str, text: str) -> Json:
    return {"kind": "unreadable", "index": index, "why": why, "stored": text}
