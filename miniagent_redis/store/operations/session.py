"""Scripts on the session itself: create, read, renew, change, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..core import OnSession
from .replies import Changed, Gone, Renewed


class Created(NamedTuple):
    """The session is there, by this try or an earlier one."""

    version: int
    deadline_ms: int


class Exists(NamedTuple):
    """Another session has the id."""


class OtherVersion(NamedTuple):
    """The session has another version than the one expected; nothing was done."""

    version: int


class Ended(NamedTuple):
    """Nothing of the session is left. ``user`` is b"" if it had none, or nobody knows any more."""

    user: bytes
    messages: int


class Others(NamedTuple):
    """The session is another user's; nothing was done."""


class Found(NamedTuple):
    """The document, and the values of the fields asked for."""

    document: bytes
    values: list[bytes | None]


def create_session(
    on: OnSession,
    *,
    operation: str,
    document: bytes,
    ttl_ms: int,
    max_age_ms: int,
    agent_name: bytes,
    full_id: bytes,
    channel: str,
    note: str,
) -> Created | Exists:
    """Create a session; what an expired one of its id left is removed. ``max_age_ms`` 0: none.

    The note is published once, unless ``channel`` is "".
    """
    reply = on(
        "create_session",
        operation,
        document,
        ttl_ms,
        max_age_ms,
        agent_name,
        full_id,
        channel,
        note,
    )
    return Exists() if reply[0] == "exists" else Created(*reply[1:])


def get_session(on: OnSession, *, fields: Sequence[str]) -> Found:
    """Read the document and fields of the metadata."""
    return Found(*on("get_session", *fields)[1:])


def touch_session(on: OnSession, *, ttl_ms: int | None = None) -> Renewed:
    """Move the session's deadline, with a new ttl if one is given."""
    return Renewed(*on("touch_session", "" if ttl_ms is None else ttl_ms)[1:])


def update_session(
    on: OnSession,
    *,
    operation: str,
    document: bytes,
    created_at: bytes,
    expected: int | None,
    titled: bytes,
) -> Renewed | OtherVersion | Changed:
    """Replace the document of the session that was created then, or of any if that is empty.

    Changed if its title was given by another operation than ``titled`` by now.
    """
    status, *found = on(
        "update_session",
        operation,
        document,
        created_at,
        "" if expected is None else expected,
        titled,
    )
    match status:
        case "changed":
            return OtherVersion(*found)
        case "retitled":
            return Changed()
    return Renewed(*found)


def set_title(
    on: OnSession,
    *,
    operation: str,
    document: bytes,
    created_at: bytes,
    version: bytes,
    titled: bytes,
    channel: str,
    note: str,
) -> Changed | None:
    """Replace the document by one with another title; None if that is done.

    ``version`` and ``titled`` are what the session had when its document was read.
    """
    status = on("set_title", operation, document, created_at, version, titled, channel, note)[0]
    return Changed() if status == "changed" else None


def delete_session(
    on: OnSession, *, operation: str, channel: str, note: str, expected: bytes = b""
) -> Ended | Changed:
    """Remove everything of the session, publish the note (if ``channel`` is not "").

    With ``expected`` only if that is still the seal under which it was read.
    """
    status, *found = on("delete_session", operation, channel, note, expected)
    return Changed() if status == "changed" else Ended(*found)


def forget_session(
    on: OnSession, *, operation: str, channel: str, note: str
) -> Ended | Others | Gone:
    """Do what ``delete_session`` does with whatever there is of the user's session."""
    status, *found = on("forget_session", operation, channel, note)
    if status == "ok":
        return Ended(*found)
    return Others() if status == "other" else Gone()
