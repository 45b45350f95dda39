"""Threads: load a session's messages, whole or what is new, append outside a turn, clear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from attrs import evolve

from ..errors import InvalidInput
from ..keys import check_session_id
from ..models import Message, ThreadSlice, new_id
from .base import check_position
from .checks import check_message
from .index import Index

PAGE = 1000
"""Most records in one reply: a larger LRANGE holds up everybody else on the server."""


class Threads(Index):
    """The message lists of sessions."""

    def load_thread(
        self,
        session_id: str,
        *,
        epoch: int | None = None,
        start: int = 0,
        user_id: str | None = None,
    ) -> ThreadSlice:
        """Load the thread from position ``start`` on, in pages of 1,000 records.

        Pass the ``epoch`` that ``start`` belongs to: if the history was cleared since, the slice
        begins at 0 of the new one. A turn committed meanwhile may be in it or not, but never in
        part. Raises SessionNotFound, or RecordUnreadable when messages were lost.
        """
        check_position(start, "start")
        known = "" if epoch is None else str(epoch)
        found = self._load(session_id, user_id, known, start, "")
        return self.load_rest(found, session_id, user_id)

    def load_rest(
        self, found: ThreadSlice, session_id: str, user_id: str | None = None
    ) -> ThreadSlice:
        """Complete a slice that holds only the first page; the same slice if it is complete."""
        while (at := found.start + len(found.messages) + len(found.unreadable)) < found.count:
            more = self._load(session_id, user_id, str(found.epoch), at, "")
            if more.epoch != found.epoch:
                found = more  # cleared in between: what we have is history
                continue
            found = evolve(
                more,
                start=found.start,
                messages=found.messages + more.messages,
                indexes=found.indexes + more.indexes,
                unreadable=found.unreadable + more.unreadable,
            )
        return found

    def load_tail(
        self,
        session_id: str,
        limit: int,
        *,
        before: int | None = None,
        user_id: str | None = None,
    ) -> ThreadSlice:
        """Load the last ``limit`` messages in front of position ``before`` (default: the end)."""
        check_position(limit, "limit", 1)
        end = "" if before is None else check_position(before, "before")
        if limit <= PAGE:
            return self._load(session_id, user_id, "", "", end, limit)
        head = self._load(session_id, user_id, "", "", end, 1)
        stop = head.start + len(head.messages) + len(head.unreadable)
        found = self.load_thread(
            session_id, epoch=head.epoch, start=max(0, stop - limit), user_id=user_id
        )
        kept = [m for m, i in zip(found.messages, found.indexes, strict=True) if i < stop]
        return evolve(found, messages=tuple(kept), indexes=found.indexes[: len(kept)])

    def _load(
        self,
        session_id: str,
        user_id: str | None,
        epoch: str,
        start: int | str,
        end: int | str,
        limit: int = PAGE,
    ) -> ThreadSlice:
        reply = self._run("load_thread", session_id, user_id, epoch, start, end, limit)
        _, version, found_epoch, count, at, records = reply
        return self._slice(session_id, version, found_epoch, count, at, records)

    def _slice(
        self,
        session_id: str,
        version: int,
        epoch: int,
        count: int,
        start: int,
        records: Sequence[bytes],
    ) -> ThreadSlice:
        messages, indexes, unreadable = self._messages(records, start, f"thread:{session_id}")
        return ThreadSlice(
            epoch, version, count, start, tuple(messages), tuple(indexes), tuple(unreadable)
        )

    def append_to_thread(
        self,
        session_id: str,
        messages: Message | Sequence[Message],
        *,
        user_id: str | None = None,
        operation_id: str | None = None,
    ) -> int:
        """Append messages outside a turn; return the session's new version.

        All or none are stored, in one round trip. With the same ``operation_id`` a repetition
        changes nothing. Tool calls need their turn, so they are refused here. Raises
        SessionNotFound, SessionTooLarge, InvalidInput, or TurnUncertain (``resolve_turn`` takes
        its ``turn_id``).
        """
        several: list[Message] = (
            list(messages) if isinstance(messages, (list, tuple)) else [cast(Message, messages)]
        )
        if not several:
            raise InvalidInput("there is no message to append")
        for message in several:
            check_message(message)
            if message.tool_calls or message.role == "tool":
                raise InvalidInput(
                    "tool calls and their results cannot be appended one by one",
                    cause="a thread never holds a call without its result",
                    hint="stage and commit them as a turn: begin_turn, stage_step, commit_turn",
                )
        now = self.clock.time()
        several = [m if m.created_at else evolve(m, created_at=now) for m in several]
        operation = new_id()
        if operation_id is not None:
            operation = check_session_id(operation_id, "an operation id")
        reply = self._run(
            "append_messages",
            session_id,
            user_id,
            operation,
            self.config.max_session_size,
            *self._message_records(several),
            operation=operation,
        )
        self.mark_active(session_id, reply[3], reply[4])
        return int(reply[1])

    def clear_thread(self, session_id: str, *, user_id: str | None = None) -> int:
        """Remove all messages and drop a turn that is open; return how many messages there were.

        The session itself stays. Raises SessionNotFound or TurnUncertain.
        """
        operation = new_id()
        reply = self._run("clear_thread", session_id, user_id, operation, operation=operation)
        self.mark_active(session_id, reply[2], reply[3])
        return int(reply[1])
