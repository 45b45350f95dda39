"""Room in a full session: its oldest exchanges are let go of, for ``on_full="trim"``.

An exchange is the message of a user and all that follows until the next one. Which records those
are only a process can tell that reads them, so it looks at the head of the thread, and a script
then takes away what it names, if the thread still begins there.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from .core import OnSession, StoreCore, log
from .message_records import MessageRecords
from .operations.thread import Piece, load_thread, trim_thread

_PAGE = 250
_SLACK = 4
"""One part of so many of the greatest size is freed beside what is needed: not at every turn."""


class Room:
    """Makes room in sessions of one store."""

    def __init__(self, core: StoreCore, records: MessageRecords) -> None:
        self._core = core
        self._records = records

    def make(self, on: OnSession, size: int, *, keeps_last: bool) -> bool:
        """Free what a session of ``size`` bytes has beyond the greatest size, and some more.

        Returns False, with nothing done, where all that may go is not enough. The system messages
        at the head of the thread stay, and with ``keeps_last`` the last exchange. Raises
        SessionNotFound, RecordUnreadable, SchemaTooNew, StoreUnavailable or StoreMisconfigured.
        """
        most = self._core.config.max_session_size
        looking = OnSession(self._core, on.session_id, on.user, None, on.insist)
        looking.tries = copy(on.tries)  # it means the same session
        while True:
            head = _Head(needed=size - most, wanted=size - most + most // _SLACK)
            first = self._look(looking, head, keeps_last=keeps_last)
            if first is None:
                continue  # others have changed it meanwhile
            if head.cut is None:
                return False
            going = head.cut - head.opening
            if trim_thread(
                looking, epoch=first.epoch, head=first.head, stay=head.opening, going=going
            ):
                log.info("session %s was full: its %d oldest messages were let go of",
                         on.session_id, going)  # fmt: skip
            return True  # or others were faster; who asked sees whether there is room now

    def _look(self, on: OnSession, head: _Head, *, keeps_last: bool) -> Piece | None:
        """Read the thread as far as is needed; return its first page, or None if it changed."""
        first = piece = load_thread(on, epoch=None, start=0, end=None, most=_PAGE, mark=b"")
        while True:
            at = piece.start + len(piece.records)
            decoded = self._records.decode(on.session_id, piece.records, piece.start)
            roles = {
                index: message.role
                for index, message in zip(decoded.indexes, decoded.messages, strict=True)
            }
            places = range(piece.start, at)
            if head.follow([roles.get(place, "") for place in places], piece.records):
                return first
            if at >= piece.total:
                if not keeps_last:
                    head.may_cut()
                return first
            piece = load_thread(on, epoch=first.epoch, start=at, end=None, most=_PAGE, mark=b"")
            if (piece.epoch, piece.start, piece.head) != (first.epoch, at, first.head):
                return None


class _Head:
    """The head of a thread, as it is read: how much of it must go. Places count from its first."""

    def __init__(self, *, needed: int, wanted: int) -> None:
        self._needed = needed
        self._wanted = wanted
        self._at = 0
        self._freed = 0
        self.opening: int = 0
        """So many system messages it begins with."""
        self.cut: int | None = None
        """Where to cut: up to there enough is freed, if anywhere."""

    def follow(self, roles: Sequence[str], records: Sequence[bytes]) -> bool:
        """Take the next records; return whether it is known where to cut."""
        for role, record in zip(roles, records, strict=True):
            if role == "user" and self.may_cut():
                return True
            if role == "system" and self._at == self.opening:
                self.opening += 1
            else:
                self._freed += len(record)
            self._at += 1
        return False

    def may_cut(self) -> bool:
        """Note that it may be cut in front of the next record; return whether it is here."""
        if self._freed >= self._wanted or (self.cut is None and self._freed >= self._needed):
            self.cut = self._at
        return self._freed >= self._wanted
