"""Events: what happened on a session, read from its stream; whatever is missing shows as a gap.

An event's id is ``<ms>-<number>``: when it happened, and how many events the session had by then.
So whoever knows the last id that it saw knows which number comes next, and that another session of
the same id, or a server that came back with older data, is not the same story.
"""

from __future__ import annotations

import re

from attrs import frozen

from ..errors import InvalidInput
from ..models import Event
from ..models.event import gap
from ..runtime.checks import whole_number
from .core import StoreCore
from .event_records import EventRecords
from .operations.events import Found, read_events

_MOST = 1000
_PAGE_BYTES = 2**20
"""Bytes of events in one reply: larger ones hold up everybody else on the server."""
_ID = re.compile(r"(\d{1,18})-(\d{1,18})(?:\.(\d{1,9}))?", re.ASCII)  # Redis has 64 bits for each


@frozen
class Place:
    """A place in the stream, in front of entry ``number + 1``, or behind its event ``seen``."""

    ms: int
    number: int
    seen: int = 0

    @classmethod
    def of(cls, event_id: object) -> Place:
        if event_id in ("", "0"):
            return cls(0, 0)
        if not isinstance(event_id, str) or not (found := _ID.fullmatch(event_id)):
            raise InvalidInput(
                f"{event_id!r:.60} is not the id of an event",
                hint="pass Event.id as it is, or '' for the oldest event that is kept",
            )
        ms, number, seen = (int(digits or 0) for digits in found.groups())
        return cls(ms, number - 1, seen) if seen else cls(ms, number)

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


def end_of(found: Found) -> Place:
    """Return the place behind the last event."""
    if found.entries:
        return Place.of(found.entries[-1][0].decode())
    return Place(found.now_ms, found.last)


class Events:
    """Reading what happened on sessions."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._records = EventRecords(core)

    def read_events(
        self,
        session_id: str,
        after: str | None = None,
        *,
        limit: int = 100,
        user_id: str | None = None,
    ) -> list[Event]:
        """Return up to ``limit`` events (1,000 at the most) behind the one with the id ``after``.

        About 1,000 are kept; without ``after`` it begins with the oldest. Where events are
        missing there is a GAP among them. Pass the last one's ``id`` to go on. Read in pages of a
        megabyte. Raises SessionNotFound, InvalidInput or StoreUnavailable.
        """
        place = Place.of("" if after is None else after)
        left = min(whole_number(limit, "limit", 1), _MOST)
        told: list[Event] = []
        while True:
            found = self.look(session_id, user_id, place, left)
            told += self.behind(session_id, place, found)
            left -= len(found.entries)
            if not found.more or left <= 0:
                return told
            place = end_of(found)

    def look(self, session_id: str, user_id: str | None, place: Place | None, most: int) -> Found:
        """Read events behind the place, or only the last one if there is no place yet."""
        first = "" if place is None else str(Place(place.ms, place.number + 1))
        on = self._core.on(session_id, user_id)
        return read_events(on, first=first, most=most, max_bytes=_PAGE_BYTES)

    def end(self, session_id: str, user_id: str | None) -> str:
        """Return the place behind the last event: who watches from there sees what comes."""
        return str(end_of(self.look(session_id, user_id, None, 1)))

    def behind(self, session_id: str, place: Place, found: Found) -> list[Event]:
        """Turn stored events into those to hand out, with a GAP wherever numbers are missing."""
        told: list[Event] = []
        # A place from before the session was made says nothing about its numbers.
        is_foreign = place.number > 0 and place.ms < found.made_ms

        def tell_gap(before: Place | None, on: Place, missing: int) -> None:
            missed = missing if missing > 0 and not is_foreign else None
            kind, data = gap(str(place), str(before) if before else None, missed)
            told.append(Event(kind, session_id, None, data, found.now_ms / 1000, str(on)))

        for event_id, fields, record in found.entries:
            here = Place.of(event_id.decode())
            events = self._records.decode(session_id, str(here), fields, record)
            if not events:
                tell_gap(None, here, here.number - place.number)
            else:
                seen = place.seen
                if is_foreign or here.number != place.number + 1:
                    on = Place(here.ms, max(here.number - 1, 0))
                    tell_gap(here, on, here.number - place.number - 1)
                    seen = 0
                told.extend(events[seen:])
            place, is_foreign = here, False
        if not found.entries and (is_foreign or place.number != found.last):
            on = Place(max(place.ms, found.made_ms), found.last)
            tell_gap(None, on, found.last - place.number)
        return told
