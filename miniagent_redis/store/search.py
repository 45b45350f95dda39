"""Searching in the messages of one user: by words, the newest session first, so much a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, frozen

from ..errors import InvalidInput, SchemaTooNew
from ..models import Message, Page, isoformat
from ..records.sealed import EncryptionKeyMissing
from ..runtime.checks import whole_number
from ..runtime.words import Words
from .core import StoreCore, log
from .cursors import Entry, Position, after, cursor_of, position_of, read_cursor
from .keys import check_session_id, check_user_id
from .listing import Listing
from .message_records import MessageRecords
from .operations.thread import Back, read_back

MOST_BYTES = 4 * 1024 * 1024
"""Bytes of records after which a call reads no more, by one reply at the most."""
MOST_SESSIONS = 256
"""Sessions after which a call looks into no more."""
_TOGETHER = 16
"""Sessions that are read in one round trip: the newest messages of each."""
_FIRST, _FIRST_BYTES = 100, 32 * 1024
_PAGE, _PAGE_BYTES = 500, 256 * 1024
"""Messages, and bytes, of one session in a round trip: of its newest ones, of those before."""
_SAID_BY = ("user", "assistant")


@frozen
class _Place:
    """Where a search goes on: behind a session of the index, in the middle of the next one."""

    behind: Position | None = None
    session_id: str | None = None
    epoch: int = 0
    end: int = 0

    @classmethod
    def of(cls, data: Any) -> _Place:
        behind, session_id, epoch, end = data
        place = None if behind is None else position_of(behind)
        if session_id is None:
            return cls(place)
        numbers = whole_number(epoch, "epoch"), whole_number(end, "end")
        return cls(place, check_session_id(session_id), *numbers)

    def cursor(self) -> str:
        return cursor_of([self.behind, self.session_id, self.epoch, self.end])


@define
class _Budget:
    """What a call may still read."""

    bytes: int
    sessions: int

    @property
    def is_used_up(self) -> bool:
        return self.bytes <= 0 or self.sessions <= 0


class Search:
    """Finds messages. Writes nothing."""

    def __init__(self, core: StoreCore, listing: Listing, records: MessageRecords) -> None:
        self._core = core
        self._listing = listing
        self._records = records

    def search(
        self, text: str, user_id: str, limit: int = 20, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """Find messages of a user's sessions in which all words of ``text`` occur.

        What the user and the model said, whatever the case of letters; a word may be a part of
        another one. The most recently used session comes first, and in it the newest message. Each
        entry has ``session_id message_id turn_id position role created_at`` (ISO 8601, UTC) and a
        ``snippet`` around the first word. Only sessions of ``user_id`` are read: who owns one is
        compared in the script that reads it. Messages are decoded here, so encrypted ones are
        found, too; what cannot be read is passed over.

        It reads the threads from their ends, 4 MiB and 256 sessions a call at the most, so a page
        may have fewer entries than ``limit``, or none, and yet a ``cursor``: pass it to go on. It
        is None at the end. One round trip for each 16 sessions, and one more for each further 500
        messages of one of them. Raises InvalidInput or StoreUnavailable.
        """
        words = Words(_some_words(text))
        user = check_user_id(user_id)
        if whole_number(limit, "limit", 1) > 1000:
            raise InvalidInput(f"limit must be from 1 to 1000, not {limit!r}")
        at = read_cursor(cursor, _Place.of) or _Place()
        self._listing.write()
        page: Page[dict[str, Any]] = Page()
        budget = _Budget(MOST_BYTES, MOST_SESSIONS)
        for place, found in self._messages(user_id, user, at, budget):
            if len(page) >= limit or (found is None and budget.is_used_up):
                page.cursor = place.cursor()
                return page
            if found is None:
                continue
            position, message = found
            if message.role in _SAID_BY and (snippet := words.snippet(message.text)) is not None:
                page.append(_hit(place, position, message, snippet))
        return page

    def _messages(
        self, user_id: str, user: bytes, at: _Place, budget: _Budget
    ) -> Iterator[tuple[_Place, tuple[int, Message] | None]]:
        """Yield messages with the places behind which they are; None before each further read."""
        key, behind = self._core.keys.user_sessions(user_id), at.behind
        while True:
            wanted = 1 if at.session_id else _TOGETHER
            entries = self._listing.entries([key], behind, wanted)
            begins = at if entries and entries[0][1] == at.session_id else _Place()
            firsts = self._read(entries, user, begins, budget)
            for (score, session_id), back in zip(entries, firsts, strict=True):
                if back is not None:
                    yield from self._of_session(session_id, user, back, behind, budget)
                behind = after([(score, session_id)], behind)
                budget.sessions -= 1
            if len(entries) < wanted:
                return
            at = _Place(behind)
            yield at, None

    def _read(
        self, entries: list[Entry], user: bytes, at: _Place, budget: _Budget
    ) -> Sequence[Back | None]:
        """Read the newest messages of several sessions, or of one those in front of a place."""
        is_within = at.session_id is not None
        found = read_back(
            self._core,
            [session_id for _, session_id in entries],
            user,
            epoch=at.epoch if is_within else None,
            end=at.end if is_within else None,
            most=_PAGE if is_within else _FIRST,
            most_bytes=_PAGE_BYTES if is_within else _FIRST_BYTES,
        )
        budget.bytes -= sum(sum(map(len, back.records)) for back in found if back)
        return found

    def _of_session(
        self, session_id: str, user: bytes, back: Back, behind: Position | None, budget: _Budget
    ) -> Iterator[tuple[_Place, tuple[int, Message] | None]]:
        found: Back | None = back
        while found is not None:
            for position, message in self._decoded(session_id, found):
                place = _Place(behind, session_id, found.epoch, position + 1)
                yield place, (position, message)
            if found.start <= found.head:
                return
            place = _Place(behind, session_id, found.epoch, found.start)
            yield place, None
            (found,) = self._read([(0.0, session_id)], user, place, budget)

    def _decoded(self, session_id: str, back: Back) -> list[tuple[int, Message]]:
        """Return the messages that can be read, the newest first."""
        try:
            found = self._records.decode(session_id, back.records, back.start)
        except (SchemaTooNew, EncryptionKeyMissing) as exc:
            log.warning("session %s is not searched: %s", session_id, exc)
            return []
        return list(zip(found.indexes, found.messages, strict=True))[::-1]


def _hit(place: _Place, position: int, message: Message, snippet: str) -> dict[str, Any]:
    return {
        "session_id": place.session_id,
        "message_id": message.id,
        "turn_id": message.turn_id,
        "position": position,
        "role": message.role,
        "created_at": isoformat(message.created_at),
        "snippet": snippet,
    }


def _some_words(text: object) -> str:
    if isinstance(text, str) and text.split():
        return text
    raise InvalidInput(f"{text!r:.60} has no word to search for")
