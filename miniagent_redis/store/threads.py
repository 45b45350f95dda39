"""Threads: load a session's messages, whole or what is new, or from the end on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, dropwhile, takewhile

from attrs import evolve

from ..errors import TurnUncertain
from ..models import Message, ThreadSlice
from ..records.mark import mark_of
from ..runtime.checks import maybe_number, whole_number
from .checks import check_mark
from .core import LET_GO, StoreCore
from .looking_back import FIRST, PAGE, look_back
from .message_records import MessageRecords
from .operations.thread import Piece, begin_reading, load_thread, read_on

Enough = Callable[[Sequence[Message]], bool]
"""Tells whether the newest messages of a thread, from one of a user on, are all that is needed."""


class Threads:
    """The message lists of sessions, to be read."""

    def __init__(self, core: StoreCore, records: MessageRecords) -> None:
        self._core = core
        self._records = records

    def load_thread(
        self,
        session_id: str,
        *,
        epoch: int | None = None,
        start: int = 0,
        mark: bytes = b"",
        user_id: str | None = None,
    ) -> ThreadSlice:
        """Load the thread from position ``start`` on, in pages of 1,000 records.

        Pass the ``epoch`` that ``start`` belongs to, and the ``mark`` of the slice that ended
        there: if the history was cleared since, or the server has lost what was there, the slice
        begins at 0. A turn committed meanwhile may be in it or not, but never in part. Raises
        SessionNotFound, or RecordUnreadable when messages were lost.
        """
        whole_number(start, "start")
        maybe_number(epoch, "epoch")
        check_mark(mark)
        if start == 0:
            found = self._load_first(session_id, user_id)
        else:
            found = self._load(session_id, user_id, epoch, start, mark=mark)
        return self.load_rest(found, session_id, user_id)

    def load_rest(
        self,
        found: ThreadSlice,
        session_id: str,
        user_id: str | None = None,
        enough: Enough | None = None,
        keep: Callable[[], None] = lambda: None,
    ) -> ThreadSlice:
        """Complete a slice that holds only the first page; the same slice if it is complete.

        Or as far as is needed, if there is somebody to ask whether that is ``enough``. ``keep`` is
        called before each page.
        """
        if enough is not None and _end(found) < found.count:
            return self._load_needed(found, session_id, user_id, enough, keep)
        pieces = [found]
        while (at := _end(found)) < found.count:
            keep()
            found = self._read_on(session_id, user_id, found, at)
            if found.start != at:
                pieces.clear()  # cleared in between, or lost: what we have is history
            elif found.head != pieces[0].head:
                return self._load_anew(session_id, user_id, keep)  # trimmed in between
            pieces.append(found)
        if len(pieces) == 1:
            return found
        return evolve(
            found,
            start=pieces[0].start,
            messages=tuple(chain.from_iterable(piece.messages for piece in pieces)),
            indexes=tuple(chain.from_iterable(piece.indexes for piece in pieces)),
            unreadable=tuple(chain.from_iterable(piece.unreadable for piece in pieces)),
        )

    def _read_on(
        self, session_id: str, user_id: str | None, found: ThreadSlice, at: int
    ) -> ThreadSlice:
        """Load the page behind a slice that ends at ``at``, as of the same version if it can be."""
        version, epoch, count, head = found.version, found.epoch, found.count, found.head
        if found.mark and at > head:
            stop, mark = min(at + PAGE, count), found.mark
            records = read_on(
                self._core, session_id, epoch=epoch, head=head, start=at, stop=stop, mark=mark
            )
            if records is not None:
                piece = Piece(version, epoch, count, at, records, head)
                return self.slice_of(session_id, piece, mark)
        return self._load(session_id, user_id, epoch, at, mark=found.mark)

    def _load_needed(
        self,
        found: ThreadSlice,
        session_id: str,
        user_id: str | None,
        enough: Enough,
        keep: Callable[[], None],
    ) -> ThreadSlice:
        """Return the system messages that the thread begins with, and the newest that are enough.

        These are read backward, in pages that grow. Where the two meet it is the whole thread.
        """
        if found.start > found.head:  # the caller's part ends too early to be of use
            found = self._load(session_id, user_id, start=0, most=FIRST)
        at, most, pieces = None, FIRST, list[ThreadSlice]()
        while True:
            keep()
            piece = self._load(session_id, user_id, end=at, most=most)
            if (piece.epoch, piece.head) != (found.epoch, found.head) or piece.count < found.count:
                return self._load_anew(session_id, user_id, keep)  # there is less by now
            at, most = piece.start, min(2 * most, PAGE)
            pieces.insert(0, piece)
            if at <= _end(found):
                return _joined([found, *pieces])
            opening = list(takewhile(lambda message: message.role == "system", found.messages))
            if len(opening) == len(found.messages):
                continue  # nobody knows where they end
            there = chain.from_iterable(piece.messages for piece in pieces)
            newest = list(dropwhile(lambda message: message.role != "user", there))
            if newest and enough(newest):
                both = _joined([found, *pieces])
                messages = (*opening, *newest)
                indexes = (*both.indexes[: len(opening)], *both.indexes[-len(newest) :])
                skipped = both.count - both.head - len(messages) - len(both.unreadable)
                return evolve(both, messages=messages, indexes=indexes, skipped=skipped)

    def _load_anew(
        self, session_id: str, user_id: str | None, keep: Callable[[], None]
    ) -> ThreadSlice:
        return self.load_rest(self._load_first(session_id, user_id), session_id, user_id, keep=keep)

    def find(
        self, session_id: str, user_id: str | None, is_wanted: Callable[[Message], bool]
    ) -> tuple[list[Message], ThreadSlice]:
        """Look for messages that stand together, as all do that were stored in one step.

        Returns them, none if they are not there, and the last page that ``look_back`` read.
        """
        return look_back(
            lambda most, before: self.load_tail(session_id, most, before=before, user_id=user_id),
            is_wanted,
        )

    def find_turn(
        self, session_id: str, turn_id: str, user_id: str | None, since: int | None
    ) -> tuple[set[str], int]:
        """Look for a turn in the whole thread, where it was not in version ``since``, if given.

        Returns the ids of its messages, none if it is not there, and the version looked at. Raises
        TurnUncertain if it may have been there, and let go of by now.
        """
        found, page = self.find(session_id, user_id, lambda one: one.turn_id == turn_id)
        if not found and self.has_let_go(session_id, page, since):
            raise TurnUncertain(session_id, turn_id, LET_GO)
        return {message.id for message in found}, page.version

    def has_stored(self, session_id: str, some_id: str, user_id: str | None) -> bool:
        """Look for a turn or a message in the whole thread, or what is left of it."""
        found, _ = self.find(session_id, user_id, lambda one: some_id in (one.turn_id, one.id))
        return bool(found)

    def has_let_go(self, session_id: str, found: ThreadSlice, since: int | None) -> bool:
        """Tell whether what was stored after version ``since`` may be gone from the thread."""
        if not found.head:
            return False
        key = self._core.keys.metadata(session_id)
        trimmed = self._core.call("HGET", key, "trimmed")
        return since is None or int(trimmed or 0) > since

    def load_tail(
        self,
        session_id: str,
        limit: int,
        *,
        before: int | None = None,
        user_id: str | None = None,
    ) -> ThreadSlice:
        """Load the last ``limit`` messages in front of position ``before`` (default: the end)."""
        whole_number(limit, "limit", 1)
        end = None if before is None else whole_number(before, "before")
        if limit <= PAGE:
            return self._load(session_id, user_id, end=end, most=limit)
        head = self._load(session_id, user_id, end=end, most=1)
        stop = head.start + len(head.messages) + len(head.unreadable)
        found = self.load_thread(
            session_id, epoch=head.epoch, start=max(0, stop - limit), user_id=user_id
        )
        kept = [m for m, i in zip(found.messages, found.indexes, strict=True) if i < stop]
        return evolve(found, messages=tuple(kept), indexes=found.indexes[: len(kept)])

    def load_first(self, session_id: str, end: int, user_id: str | None) -> ThreadSlice:
        """Load the messages in front of a position, as of one epoch, in pages."""
        pieces = [self._load(session_id, user_id, start=0, end=end)]
        while (at := _end(last := pieces[-1])) < min(end, last.count):
            found = self._load(session_id, user_id, last.epoch, at, end, mark=last.mark)
            if (found.start, found.head) != (at, last.head):
                return self.load_first(session_id, end, user_id)  # others removed some
            pieces.append(found)
        return _joined(pieces)

    def _load_first(self, session_id: str, user_id: str | None) -> ThreadSlice:
        """Load the first page, of a thread of which nothing is known."""
        on = self._core.on(session_id, user_id)
        piece = begin_reading(on, PAGE) or load_thread(
            on, epoch=None, start=0, end=None, most=PAGE, mark=b""
        )
        return self.slice_of(session_id, piece, b"")

    def _load(
        self,
        session_id: str,
        user_id: str | None,
        epoch: int | None = None,
        start: int | None = None,
        end: int | None = None,
        most: int = PAGE,
        mark: bytes = b"",
    ) -> ThreadSlice:
        on = self._core.on(session_id, user_id)
        piece = load_thread(on, epoch=epoch, start=start, end=end, most=most, mark=mark)
        return self.slice_of(session_id, piece, mark)

    def slice_of(self, session_id: str, piece: Piece, mark: bytes) -> ThreadSlice:
        """Decode what a script gave of the thread behind the record of ``mark``."""
        version, epoch, count, start, records, head = piece
        found = self._records.decode(session_id, records, start)
        if records:
            mark = mark_of(records[-1])
        elif start <= head:
            mark = b""
        return ThreadSlice(
            epoch=epoch,
            version=version,
            count=count,
            start=start,
            messages=found.messages,
            indexes=found.indexes,
            unreadable=found.unreadable,
            mark=mark,
            head=head,
        )


def _end(piece: ThreadSlice) -> int:
    """Return the position behind a slice in which nothing is skipped."""
    return piece.start + len(piece.messages) + len(piece.unreadable)


def _joined(pieces: Sequence[ThreadSlice]) -> ThreadSlice:
    """Return one slice of several in their order, as of the last; they may overlap."""
    messages = {i: m for each in pieces for i, m in zip(each.indexes, each.messages, strict=True)}
    unreadable = {record.index: record for each in pieces for record in each.unreadable}
    return evolve(
        pieces[-1],
        start=pieces[0].start,
        messages=tuple(messages.values()),
        indexes=tuple(messages),
        unreadable=tuple(unreadable.values()),
    )
