"""Reads a thread from one end to the other: how much there is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from attrs import define, field

from ..codec import Json, Unreadable, message_from_data
from ..errors import SchemaTooNew
from ..models import Message
from ..store.manager import RedisSessionManager
from .finding import Finding, Kind
from .server import call

_PAGE = 1000  # a larger LRANGE holds up everybody else on the server
_CLEAR = "nothing is lost by leaving it; clear the session's history to be rid of it"
_RESTORE = "it was kept as it is; restore it from a backup, or clear the session's history"
_UPGRADE = "upgrade miniagent-redis here"


@define
class Records:
    """What was seen of the records of one list."""

    count: int = 0
    size: int = 0
    """In bytes, as stored."""
    bad: dict[Kind, list[str]] = field(factory=dict)
    dangling: list[str] = field(factory=list)
    _open: dict[str, int] = field(factory=dict)

    def add(self, store: RedisSessionManager, records: Sequence[bytes]) -> None:
        """Look at the next records."""
        for raw in records:
            try:
                self._follow(message_from_data(read_record(store, raw)))
            except SchemaTooNew as exc:
                self.bad.setdefault("newer_schema", []).append(f"{self.count}: {exc.problem}")
            except Unreadable as exc:
                self.bad.setdefault("unreadable", []).append(f"{self.count}: {exc}")
            self.count += 1
            self.size += len(raw)

    def _follow(self, message: Message) -> None:
        if message.role == "tool":
            if self._open.pop(message.tool_call_id or "", None) is None:
                self.dangling.append(f"record {self.count} is a result without its call")
            return
        self.end()
        self._open = {call.id: self.count for call in message.tool_calls}

    def end(self) -> None:
        """Note the calls that got no result."""
        self.dangling += [f"the call in record {at} has no result" for at in self._open.values()]
        self._open = {}

    def findings(self, session_id: str, key: str, *, is_closed: bool) -> Iterator[Finding]:
        """Yield what is wrong; only in a closed list must each call have its result."""
        for kind, those in self.bad.items():
            hint = _UPGRADE if kind == "newer_schema" else _RESTORE
            what = f"{len(those)} of {self.count} records cannot be read, the first at {those[0]}"
            yield Finding(kind, session_id, key, what, hint=hint)
        if is_closed:
            self.end()
        if self.dangling:
            more = f", and {len(self.dangling) - 1} more" if len(self.dangling) > 1 else ""
            what = self.dangling[0] + more
            yield Finding("dangling_call", session_id, key, what, hint=_CLEAR)


def read_record(store: RedisSessionManager, raw: bytes) -> Json:
    """Decode one record; raises Unreadable. Counts and logs nothing."""
    try:
        data = store.deserialize(raw)
    except Exception as exc:  # a user's own format may fail in any way
        raise exc if isinstance(exc, Unreadable) else Unreadable(repr(exc)) from exc
    if not isinstance(data, dict):
        raise Unreadable("it is not an object")
    return cast(Json, data)


def read_thread(store: RedisSessionManager, key: str, length: int) -> Records:
    """Read the first ``length`` records in pages; fewer, if the thread was cleared meanwhile."""
    found = Records()
    while found.count < length:
        last = min(found.count + _PAGE, length) - 1
        records = call(store, "LRANGE", key, found.count, last)
        if not records:
            break
        found.add(store, records)
    return found
