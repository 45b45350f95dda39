"""Whole threads: export, import, copy, and cutting off the end.

An exported thread is a list of JSON objects, fit to be the lines of a file: a header, which says
what session it was, and the messages as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from attrs import asdict, evolve

from ..errors import InvalidInput, RecordUnreadable, SessionBusy, SessionExists, SessionTooLarge
from ..models import Message, ThreadSlice, UnreadableRecord, new_id
from ..records.frame import Unreadable, stamped, upcast
from ..records.json import Json
from ..records.messages import message_from_data, message_to_data
from ..runtime.checks import whole_number
from .checks import check_message, check_results
from .core import StoreCore
from .index import Index
from .keys import check_session_id, check_user_id, id_or_new
from .message_records import MessageRecords
from .one_session import of_one_session
from .operations.replies import Changed, Unsure
from .operations.thread import Running, append_messages, truncate_thread
from .places import parted
from .sessions import Sessions
from .threads import Threads

PAGE = 250
"""Messages after which a script of an import stores no more: it holds up everybody else on the
server, for some 10 microseconds each, most of it for telling watchers."""
PAGE_BYTES = 1024 * 1024
"""Bytes after which it stores no more."""
_HEADER = "thread"  # its "kind"; a message has none


class Transfer:
    """Threads as a whole: into and out of the store, to another session, back to an earlier end."""

    def __init__(
        self,
        core: StoreCore,
        sessions: Sessions,
        threads: Threads,
        index: Index,
        records: MessageRecords,
    ) -> None:
        self._core = core
        self._sessions = sessions
        self._threads = threads
        self._index = index
        self._records = records

    @of_one_session
    def export_thread(self, session_id: str, *, user_id: str | None = None) -> list[Json]:
        """Return the thread as JSON objects: a header, and each message.

        The header has what ``session_state`` tells of the session: its user, agent, data, times
        and counters. All are of one moment, also if the session is worked on meanwhile; a turn
        that is open is not in it. Raises SessionNotFound, or RecordUnreadable when a message is
        lost or damaged.
        """
        while True:
            state = self._sessions.session_state(session_id, user_id=user_id)
            found = self._threads.load_thread(session_id, user_id=user_id)
            if (found.epoch, found.head) == (state.epoch, state.head):
                break  # else messages were removed in between
        messages = self._whole(session_id, found, state.message_count)
        header = {"kind": _HEADER, **asdict(state, recurse=False)}
        return [stamped(header), *(stamped(message_to_data(message)) for message in messages)]

    def _whole(self, session_id: str, found: ThreadSlice, count: int) -> Sequence[Message]:
        """Return a thread's messages up to position ``count``, those that were not let go of.

        Raises RecordUnreadable if not all are there.
        """
        for record in found.unreadable:
            if record.index < count:
                raise self._lost(session_id, record)
        return [m for i, m in zip(found.indexes, found.messages, strict=True) if i < count]

    def _lost(self, session_id: str, record: UnreadableRecord) -> RecordUnreadable:
        key = self._core.keys.of_session(session_id)[1]
        return RecordUnreadable(key, record.reason, record.raw)

    @of_one_session
    def import_thread(
        self,
        session_id: str,
        messages: Iterable[Message | Mapping[str, Any]],
        *,
        user_id: str | None = None,
    ) -> int:
        """Store a conversation in a session that has none; return how many messages it took.

        ``messages`` are Messages, or data as ``export_thread`` gives it; a header is left out.
        They keep their ids, turns and times, and count for no usage. All is looked at before
        anything is written. Then some 250 messages, or a MiB, are stored at a time, never a call
        without its results, and watchers are told each message: others see the thread grow.

        If this breaks off, the first part is there. A repetition, however late, takes only what is
        missing, and nothing if the conversation has gone on since. Raises SessionNotFound,
        SessionExists (other messages are there), SessionTooLarge, InvalidInput, TurnUncertain or
        StoreUnavailable.
        """
        check_session_id(session_id)
        if user_id is not None:
            check_user_id(user_id)
        given = list(self._given(messages))
        check_results(given)
        records = self._records.encode(session_id, given)
        size, most = sum(map(len, records)), self._core.config.max_session_size
        if size > most:
            raise SessionTooLarge(session_id, size, most)
        taken = 0
        while (at := self._stored(session_id, given, user_id)) < len(given):
            for end in _page_ends(given, records, at):
                operation = new_id()
                written = append_messages(
                    self._core.on(session_id, user_id, operation=operation),
                    operation=operation,
                    max_bytes=most,
                    count=at,
                    messages=records[at:end],
                )
                if isinstance(written, (Changed, Unsure)):
                    break  # others wrote too: what is there now tells how to go on
                self._index.mark(session_id, written)
                taken, at = taken + end - at, end
            else:
                return taken
        return taken

    def _given(self, messages: Iterable[Message | Mapping[str, Any]]) -> Iterator[Message]:
        now = self._core.clock.time()
        promised: object = None
        count = 0
        for message in _each(messages):
            if isinstance(message, Mapping):
                if message.get("kind") == _HEADER:
                    promised = _promised(message)
                    continue
                message = _from_data(message, count)
            check_message(message)
            yield message if message.created_at else evolve(message, created_at=now)
            count += 1
        if promised is not None and promised != count:
            raise InvalidInput(
                f"{count} messages are here, and their header tells of {promised}",
                cause="the end of the export is missing, or messages were taken out or added",
                hint="leave the header out to import them all the same",
            )

    def _stored(self, session_id: str, given: Sequence[Message], user_id: str | None) -> int:
        """Return how many of the messages are there; raises SessionExists if others are."""
        found = self._threads.load_thread(session_id, user_id=user_id)
        here = found.messages[: len(given)]
        if found.head or found.unreadable or not all(map(_is_same, here, given)):
            raise SessionExists(session_id, "there are other messages than those to be imported")
        return len(here)

    def copy_thread(
        self,
        source: str,
        target: str,
        *,
        upto: int | None = None,
        user_id: str | None = None,
    ) -> int:
        """Store the thread of one session, or its first ``upto`` messages, in another one.

        The other session is there and its thread is empty; both are the user's. Read and stored
        by this process, as ``import_thread`` stores, whose errors it raises; a repetition goes on
        where it broke off. Returns how many messages it took.
        """
        check_session_id(target)
        most = None if upto is None else whole_number(upto, "upto")
        found = self._threads.load_thread(source, user_id=user_id)
        count = found.count if most is None else min(most, found.count)
        return self.import_thread(target, self._whole(source, found, count), user_id=user_id)

    @of_one_session
    def truncate_thread(
        self,
        session_id: str,
        keep: int,
        *,
        user_id: str | None = None,
        operation_id: str | None = None,
    ) -> int:
        """Remove all but the first ``keep`` messages; return how many were removed.

        Atomic. With the same ``operation_id`` a repetition changes nothing, as for
        ``append_to_thread``. Watchers are told
        HISTORY_CLEARED with what is ``kept``; an abandoned turn is dropped. Raises InvalidInput if
        it would part a tool call from its results, SessionBusy while a turn is running,
        SessionNotFound, RecordUnreadable, TurnUncertain or StoreUnavailable.
        """
        whole_number(keep, "keep")
        operation = id_or_new(operation_id, "an operation id")
        on = self._core.on(session_id, user_id, operation=operation)
        while True:
            found = self._threads.load_tail(session_id, 1, before=keep + 1, user_id=user_id)
            kept = min(keep, found.count)
            is_whole = self._is_whole_at(session_id, found, keep)
            done = truncate_thread(
                on,
                operation=operation if operation_id is None else f"={operation}",
                epoch=found.epoch if is_whole else None,
                version=found.version if is_whole else None,
                keep=kept,
                note=self._core.format.encode(
                    {"kept": kept}, self._core.where("event", session_id)
                ),
                new_epoch=int(new_id()[:13], 16),
            )
            if isinstance(done, Running):
                raise SessionBusy(session_id, done.left_ms / 1000)
            if not isinstance(done, Changed):
                self._index.mark(session_id, done)
                return done.removed
            if not is_whole:
                raise parted(keep)

    def _is_whole_at(self, session_id: str, found: ThreadSlice, keep: int) -> bool:
        """Tell whether no call in front of position ``keep`` has its result behind it.

        ``found`` is the message at that position, if there is one. Results directly follow their
        calls, so it is enough that this is none.
        """
        if (not found.messages and not found.unreadable) or found.count <= keep:
            return True
        if found.unreadable:
            raise self._lost(session_id, found.unreadable[0])
        return found.messages[0].role != "tool"


def _each(messages: object) -> Iterator[Message | Mapping[str, Any]]:
    if isinstance(messages, (str, bytes, Mapping, Message)) or not isinstance(messages, Iterable):
        raise InvalidInput(f"messages are given one after the other, not {type(messages).__name__}")
    yield from cast(Iterable[Message | Mapping[str, Any]], messages)


def _promised(header: Mapping[str, Any]) -> object:
    """Return how many messages are to follow a header; None if it does not say so."""
    count, head = header.get("message_count"), header.get("head", 0)
    return count - head if isinstance(count, int) and isinstance(head, int) else count


def _from_data(data: Mapping[str, Any], index: int) -> Message:
    """Return the message that the data is of; without a schema number it is today's."""
    what = f"message {index}"
    try:
        return message_from_data(upcast(stamped(dict(data)), "message", what))
    except Unreadable as exc:
        raise InvalidInput(f"{what} cannot be imported", cause=str(exc)) from exc


def _is_same(one: Message, other: Message) -> bool:
    """Tell whether both are one message; one that was made anew has another id and time."""
    return one.id == other.id or _said(one) == _said(other)


def _said(message: Message) -> tuple[object, ...]:
    return (
        message.role,
        message.content,
        message.tool_calls,
        message.tool_call_id,
        message.name,
        message.metadata,
    )


def _page_ends(messages: Sequence[Message], records: Sequence[bytes], start: int) -> Iterator[int]:
    """Yield the positions up to which to store at a time; calls stay with their results."""
    size = 0
    for at in range(start, len(records)):
        size += len(records[at])
        is_last = at + 1 == len(records)
        is_full = at + 1 - start >= PAGE or size >= PAGE_BYTES
        if is_last or (is_full and messages[at + 1].role != "tool"):
            yield at + 1
            start, size = at + 1, 0
