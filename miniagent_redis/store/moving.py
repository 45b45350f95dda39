"""Putting a whole session where there is none yet: one that is moved, or a branch of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..errors import SessionExists
from ..models import new_id as random_id
from .core import OnSession
from .operations.moving import move_records, move_session
from .operations.session import Exists

HOLD_MS = 3_600_000
"""For how long messages are kept that nobody makes a session of: an hour."""
_PAGE = 1000
_PAGE_BYTES = 1024 * 1024
"""Records, and bytes, after which a script stores no more: it holds up all others."""
_METADATA, _OPS = b"4", b"5"  # the numbers of their keys


class SessionCopy(NamedTuple):
    """What is to be stored under the new id."""

    document: bytes
    fields: list[bytes]
    records: list[bytes]
    staged: int
    """So many of the records, the last ones, are those of a turn that was left behind."""
    user_id: str | None
    origin: str | None = None
    """The session that it is a branch of, if it is one."""


def fields_of(metadata: Mapping[bytes, bytes], ops: Mapping[bytes, bytes]) -> list[bytes]:
    """Return the fields of both hashes as the script takes them."""
    return [
        part
        for number, pairs in ((_METADATA, metadata), (_OPS, ops))
        for name, value in pairs.items()
        for part in (number, name, value)
    ]


def new_counters(now_ms: int, count: int, size: int) -> dict[bytes, bytes]:
    """Return the metadata of a session that begins now, in the order of ``create_session``."""
    numbers = {
        b"deadline": 0, b"version": 1, b"epoch": int(random_id()[:13], 16),
        b"message_count": count, b"bytes": size, b"ttl": 0, b"max_end": 0, b"turns": 0,
        b"input_tokens": 0, b"output_tokens": 0, b"tool_calls": 0,
    }  # fmt: skip
    first = {name: b"%d" % number for name, number in numbers.items()}
    now = b"%d" % now_ms
    return {
        **first, b"user": b"", b"turn": b"", b"holder": b"", b"lease": b"0", b"cancel": b"",
        b"events": b"1", b"last_activity": now, b"created_at": now, b"schema": b"1",
    }  # fmt: skip


def put_session(
    on: OnSession,
    copy: SessionCopy,
    *,
    operation: str,
    replaces: str,
    hold_ms: int,
    channel: str,
    note: str,
) -> bool:
    """Store the copy; return False if somebody else has put something there meanwhile.

    ``replaces`` is the operation of an earlier try, or empty; ``hold_ms`` is for how long the
    session lives at the most until it is used. Raises SessionExists.
    """
    at = 0
    for records in _pages(copy.records):
        done = move_records(
            on, operation=operation, replaces=replaces, at=at, hold_ms=HOLD_MS, records=records
        )
        if isinstance(done, Exists):
            raise SessionExists(on.session_id, "or one of that id has ended within the last minute")
        if done is not None:
            return False
        at += len(records)
    moved = move_session(
        on,
        operation=operation,
        count=at,
        staged=copy.staged,
        hold_ms=hold_ms,
        channel=channel,
        note=note,
        document=copy.document,
        fields=copy.fields,
    )
    return moved is None


def _pages(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the records in pages; one without any if there are none."""
    start = size = 0
    for at, record in enumerate(records):
        if at - start >= _PAGE or (size and size + len(record) > _PAGE_BYTES):
            yield records[start:at]
            start, size = at, 0
        size += len(record)
    yield records[start:]
