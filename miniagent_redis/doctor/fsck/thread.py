"""Reads a thread from one end to the other: how much there is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import define, field

from ...errors import SchemaTooNew
from ...models import Message
from ...models.inquiry import is_inquiry
from ...records.frame import Unreadable
from ...records.messages import message_from_data
from ...records.sealed import EncryptionKeyMissing
from ...store.core import StoreCore
from .finding import Finding, Kind

_PAGE = 1000  # a larger LRANGE holds up everybody else on the server
_CLEAR = "nothing is lost by leaving it; clear the session's history to be rid of it"
_RESTORE = "it was kept as it is; restore it from a backup, or clear the session's history"
_HINTS: dict[Kind, str] = {
    "newer_schema": "upgrade miniagent-redis here",
    "no_key": "run this with the keys: MINIAGENT_ENCRYPTION_KEYS, old ones too",
}


@define
class Records:
    """What was seen of the records of one list."""

    count: int = 0
    size: int = 0
    """In bytes, as stored."""
    bad: dict[Kind, list[str]] = field(factory=dict)
    dangling: list[str] = field(factory=list)
    _open: dict[str, int] = field(factory=dict)

    def add(self, core: StoreCore, session_id: str, records: Sequence[bytes]) -> None:
        """Look at the next records."""
        where = core.where("message", session_id)
        for raw in records:
            try:
                self._follow(message_from_data(core.format.decode(raw, where)))
            except SchemaTooNew as exc:
                self.bad.setdefault("newer_schema", []).append(f"{self.count}: {exc.problem}")
            except EncryptionKeyMissing as exc:
                self.bad.setdefault("no_key", []).append(f"{self.count}: {exc.problem}")
            except Unreadable as exc:
                self.bad.setdefault("unreadable", []).append(f"{self.count}: {exc}")
            self.count += 1
            self.size += len(raw)

    def _follow(self, message: Message) -> None:
        if message.role == "tool":
            if is_inquiry(message) and message.tool_call_id in self._open:
                return
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
            hint = _HINTS.get(kind, _RESTORE)
            what = f"{len(those)} of {self.count} records cannot be read, the first at {those[0]}"
            yield Finding(kind, session_id, key, what, hint=hint)
        if is_closed:
            self.end()
        if self.dangling:
            more = f", and {len(self.dangling) - 1} more" if len(self.dangling) > 1 else ""
            what = self.dangling[0] + more
            yield Finding("dangling_call", session_id, key, what, hint=_CLEAR)


def read_threads(core: StoreCore, lengths: Mapping[str, int]) -> dict[str, Records]:
    """Read so many records of each session's thread: short ones together, long ones in pages."""
    found: dict[str, Records] = {}
    groups, count = [list[str]()], 0
    for session_id, length in lengths.items():
        if length > _PAGE:
            found[session_id] = _read_thread(core, session_id, length)
            continue
        if count + length > _PAGE:
            groups.append([])
            count = 0
        groups[-1].append(session_id)
        count += length
    for group in groups:
        replies = core.call_many(
            [("LRANGE", core.keys.of_session(one)[1], 0, lengths[one] - 1) for one in group]
        )
        for session_id, records in zip(group, replies, strict=True):
            found[session_id] = Records()
            found[session_id].add(core, session_id, records)
    return found


def _read_thread(core: StoreCore, session_id: str, length: int) -> Records:
    """Read the first ``length`` records in pages; fewer, if the thread was cleared meanwhile."""
    found = Records()
    key = core.keys.of_session(session_id)[1]
    while found.count < length:
        last = min(found.count + _PAGE, length) - 1
        records = core.call("LRANGE", key, found.count, last)
        if not records:
            break
        found.add(core, session_id, records)
    return found
