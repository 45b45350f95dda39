"""Messages as the records that are stored, and back; what cannot be read is set aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from ..errors import RecordUnreadable
from ..models import Message, ThreadSlice, UnreadableRecord
from ..records.frame import Unreadable
from ..records.messages import message_from_data, message_to_data
from .core import StoreCore, log


@frozen
class Decoded:
    """What records of a list were: messages, their positions, and what was set aside."""

    messages: tuple[Message, ...] = ()
    indexes: tuple[int, ...] = ()
    unreadable: tuple[UnreadableRecord, ...] = ()


NOTHING = Decoded()


class MessageRecords:
    """Encodes and decodes messages by the format of one store."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core

    def encode(self, session_id: str, messages: Sequence[Message]) -> list[bytes]:
        """Return the records of messages; raises InvalidInput for what the format cannot hold."""
        where = self._core.where("message", session_id)
        encode = self._core.format.encode
        return [encode(message_to_data(message), where) for message in messages]

    def encode_anew(self, session_id: str, found: Decoded | ThreadSlice) -> list[bytes]:
        """Return the records that messages of another session are in this one, in their order.

        Those that cannot be read are taken as they are.
        """
        records = zip(found.indexes, self.encode(session_id, found.messages), strict=True)
        others = [(record.index, record.raw) for record in found.unreadable]
        return [record for _, record in sorted([*records, *others])]

    def decode(
        self, session_id: str, records: Sequence[bytes], start: int = 0, *, what: str = "thread"
    ) -> Decoded:
        """Return the messages in records of a list that begin at position ``start``.

        Unreadable ones are counted, logged and set aside. Raises SchemaTooNew if one was written
        by a later version.
        """
        if not records:
            return NOTHING
        where = self._core.where("message", session_id)
        messages: list[Message] = []
        unreadable: list[UnreadableRecord] = []
        last: Message | None = None
        for index, found in enumerate(self._core.format.decode_many(records, where), start):
            try:
                if isinstance(found, Unreadable):
                    raise found
                last = message_from_data(found, last)  # what it shares with the last one
                messages.append(last)
            except Unreadable as exc:
                unreadable.append(UnreadableRecord(index, str(exc), records[index - start]))
                self._core.tally.unreadable_records += 1
                log.warning("record %d of %s:%s cannot be read and was set aside: %s",
                            index, what, session_id, exc)  # fmt: skip
        indexes: Iterable[int] = range(start, start + len(records))
        if unreadable:
            bad = {record.index for record in unreadable}
            indexes = (index for index in indexes if index not in bad)
        return Decoded(tuple(messages), tuple(indexes), tuple(unreadable))

    def staged(self, session_id: str, records: Sequence[bytes]) -> tuple[Message, ...]:
        """Return the messages of an open turn, all of them: raises RecordUnreadable otherwise."""
        found = self.decode(session_id, records, what="turn")
        if found.unreadable:
            key = self._core.keys.of_session(session_id)[2]
            first = found.unreadable[0]
            raise RecordUnreadable(key, first.reason, first.raw)
        return found.messages
