"""The keys of a session as they are in Redis: type, time to live, size, each record as stored."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ...errors import MiniAgentError, StoreUnavailable
from ...store.core import StoreCore
from ...store.operations.replies import pairs_of

_RECORDS = 50
_LONGEST = 4_000  # bytes of a record
_LONGEST_DOCUMENT = 65_536


@frozen
class Record:
    """One record: where it is, its bytes as text, and how many there are."""

    name: str
    text: str
    size: int


@frozen
class StoredKey:
    """One key. ``ttl`` is in seconds, None for never; ``size`` in bytes of memory, if known."""

    name: str
    kind: str
    ttl: float | None
    size: int | None
    count: int | None = None
    records: Sequence[Record] = ()
    problem: str = ""


def stored_keys(core: StoreCore, session_id: str) -> list[StoredKey]:
    """Return the session's keys that are there; of long ones, the newest records.

    Raises StoreUnavailable.
    """
    found: list[StoredKey] = []
    for key in (*core.keys.of_session(session_id), core.keys.mark(session_id)):
        try:
            kind, ttl = core.call_many([("TYPE", key), ("PTTL", key)])
            name = kind.decode() if isinstance(kind, bytes) else str(kind)
            if name != "none":
                count, records = _records(core, key, name)
                left = ttl / 1000 if ttl >= 0 else None
                found.append(StoredKey(key, name, left, _size(core, key), count, records))
        except StoreUnavailable:
            raise
        except MiniAgentError as exc:
            found.append(StoredKey(key, "?", None, None, problem=str(exc)))
    return found


def _size(core: StoreCore, key: str) -> int | None:
    try:
        return core.call("MEMORY", "USAGE", key) or None
    except StoreUnavailable:
        raise
    except MiniAgentError:  # only the doctor's rights allow it
        return None


def _records(core: StoreCore, key: str, kind: str) -> tuple[int | None, list[Record]]:
    """Return how many there are, None for one document, and those that are shown."""
    if kind == "string":
        return None, [_record("", core.call("GET", key) or b"", _LONGEST_DOCUMENT)]
    if kind == "list":
        count = core.call("LLEN", key)
        first = max(0, count - _RECORDS)
        raw = core.call("LRANGE", key, first, -1)
        return count, [_record(str(first + number), one) for number, one in enumerate(raw)]
    if kind == "hash":
        fields = pairs_of(core.call("HGETALL", key))
        return len(fields), [_record(as_text(name), value) for name, value in sorted(fields)]
    if kind == "stream":
        entries = core.call("XREVRANGE", key, "+", "-", "COUNT", _RECORDS)
        return None, [_entry(as_text(entry_id), pairs_of(fields)) for entry_id, fields in entries]
    return None, []


def _entry(name: str, fields: Sequence[tuple[bytes, bytes]]) -> Record:
    return _record(name, b"  ".join(field + b"=" + value for field, value in fields))


def _record(name: str, raw: bytes, longest: int = _LONGEST) -> Record:
    return Record(name, as_text(raw, longest), len(raw))


def as_text(raw: bytes, longest: int = _LONGEST) -> str:
    """Return bytes as text that tells all of them, with "…" where it is cut."""
    text = raw[:longest].decode("utf-8", "backslashreplace")
    return text + "…" if len(raw) > longest else text
