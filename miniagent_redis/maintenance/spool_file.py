"""What a file of the spool holds: whose turn it is, the turn, its messages.

The first line, JSON in whatever format the store is, says whose it is: namespace and database, and
how the store's address was spelled, by which nobody is turned away. Behind it stand the turn and
then its messages, a line break apart: records in the store's format, the messages just as they
would be in Redis. Files of earlier versions are one JSON record, which is still read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import evolve, frozen

from ..config.address import Address
from ..models import Message, OpenTurn, ThreadSlice, UsageTotals
from ..records.converter import converter
from ..records.format import RecordFormat, Where
from ..records.frame import Unreadable, decode, encode, upcast
from ..records.json import Json
from ..records.messages import message_from_data, message_to_data
from ..store.checks import is_closed


@frozen
class SpooledTurn:
    """A turn with all its messages in ``turn.staged``, and what it took.

    ``staged`` is how many of them Redis had when it went away, ``is_here`` whether the store went
    by the same address.
    """

    turn: OpenTurn
    spent: UsageTotals
    staged: int
    is_here: bool

    def staged_if_untouched(self, is_ours: bool) -> int | None:
        """Return ``staged``, by which it shows whether another holder has done anything since.

        None if that does not show: it may run a tool whose call was staged. One that ``is_ours``
        does nothing.
        """
        shows = is_ours or is_closed(self.turn.staged[: self.staged])
        return self.staged if shows else None


@frozen
class SpoolFile:
    """A file whose turn is not decoded yet. ``records`` are the turn's and those of its messages.

    Of a file of an earlier version there are none: all of the turn is in ``head``. ``is_here``:
    the store went by the same address. Else it may be this one or another.
    """

    session_id: str
    head: Json
    records: tuple[bytes, ...]
    is_here: bool


class SpoolFiles:
    """The contents of one store's files, as bytes."""

    def __init__(self, address: Address, namespace: str, format: RecordFormat) -> None:
        self._store = f"{address} {namespace}".strip()
        self._database = address.db
        self._namespace = namespace
        self._format = format

    def content(self, turn: OpenTurn, messages: Sequence[Message], spent: UsageTotals) -> bytes:
        """Return what to write for a turn whose last ``messages`` are not staged."""
        session_id = turn.session_id
        data: Json = {
            "user_id": turn.user_id,
            "turn_id": turn.turn_id,
            "holder": turn.holder,
            "epoch": turn.thread.epoch,
            "version": turn.thread.version,
            "staged": len(turn.staged),
            "spent": converter.unstructure(spent),
        }
        of_message = self._where("message", session_id)
        records = [
            self._format.encode(data, self._where("turn", session_id)),
            *(
                self._format.encode(message_to_data(message), of_message)
                for message in (*turn.staged, *messages)
            ),
        ]
        head: Json = {
            "store": self._store,
            "namespace": self._namespace,
            "database": self._database,
            "session_id": session_id,
            "sizes": [*map(len, records)],
        }
        return b"\n".join([encode(head), *records])

    def open(self, name: str, content: bytes) -> SpoolFile | None:
        """Return the file, or None if it is surely another store's.

        Raises Unreadable, SchemaTooNew.
        """
        first, has_more, rest = content.partition(b"\n")
        head = upcast(decode(first), "spool" if has_more else "turn", f"the spooled turn {name}")
        session_id, store = head.get("session_id"), head.get("store")
        if not isinstance(session_id, str) or not isinstance(store, str):
            raise Unreadable("it does not say whose it is")
        is_here = store == self._store
        if not is_here:
            place = (head["namespace"], head["database"]) if "database" in head else _place(store)
            if place != (self._namespace, self._database):
                return None
        records = _cut(rest, head.get("sizes")) if has_more else ()
        return SpoolFile(session_id, head, records, is_here)

    def turn(self, file: SpoolFile) -> SpooledTurn:
        """Return the turn of a file. Raises Unreadable, SchemaTooNew."""
        try:
            if not file.records:
                return self._turn_of_earlier_version(file)
            data = self._format.decode(file.records[0], self._where("turn", file.session_id))
            of_message = self._where("message", file.session_id)
            messages = self._format.decode_many(file.records[1:], of_message)
            return _spooled(file, data, messages)
        except (LookupError, TypeError, AttributeError, ValueError) as exc:
            raise Unreadable(f"it is no turn: {exc}") from exc

    def _turn_of_earlier_version(self, file: SpoolFile) -> SpooledTurn:
        """Read one whose messages are inside, and what it took in three places."""
        data, of_message = file.head, self._where("message", file.session_id)
        messages = [upcast(message, "message", of_message) for message in data["messages"]]
        spooled = _spooled(file, data, messages)
        spent = evolve(
            spooled.spent,
            input_tokens=data["input_tokens"],
            output_tokens=data["output_tokens"],
            tool_calls=data["tool_calls"],
        )
        return evolve(spooled, spent=spent)

    def _where(self, kind: str, key: str) -> Where:
        return Where(kind, key, self._namespace)


def _cut(content: bytes, sizes: object) -> tuple[bytes, ...]:
    """Return the records, which are so many bytes long."""
    records: list[bytes] = []
    at = 0
    for size in sizes if isinstance(sizes, list) else []:
        if type(size) is int and size >= 0:
            records.append(content[at : at + size])
            at += size + 1
    if not records or at != len(content) + 1:
        raise Unreadable("it is not as long as it was when it was written")
    return tuple(records)


def _place(store: str) -> tuple[str, int]:
    """Return namespace and database of a store, of which a file has only the name."""
    address, _, namespace = store.partition(" ")
    has_path = address.startswith(("unix:", "embedded:", "memory:"))
    number = re.search(r"\?db=(\d+)$" if has_path else r"/(\d+)$", address)
    return namespace, int(number[1]) if number else 0


def _spooled(file: SpoolFile, data: Json, messages: Sequence[Json | Unreadable]) -> SpooledTurn:
    staged: list[Message] = []
    for message in messages:
        if isinstance(message, Unreadable):
            raise message
        staged.append(message_from_data(message, staged[-1] if staged else None))
    if not staged:
        raise Unreadable("it has no messages")
    turn = OpenTurn(
        session_id=file.session_id,
        turn_id=data["turn_id"],
        holder=data["holder"],
        thread=ThreadSlice(data["epoch"], data["version"], 0, 0, (), ()),
        staged=tuple(staged),
        user_id=data["user_id"],
    )
    spent = converter.structure(data.get("spent", {}), UsageTotals)
    # Earlier versions did not say it: mostly all but the answer.
    return SpooledTurn(turn, spent, data.get("staged", len(staged) - 1), file.is_here)
