"""Events: what happened on a session, read from its stream; whatever is missing shows as a gap.

An event's id is ``<ms>-<number>``: when it happened, and how many events the session had by then.
So whoever knows the last id that it saw knows which number comes next, and that another session of
the same id, or a server that came back with older data, is not the same story.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from ..errors import InvalidInput
from ..models import Event, EventType
from .base import check_position
from .event_records import EventRecords

_MOST = 1000
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


@frozen
class Found:
    """What one look at the stream gave; times in ms. ``last`` is the number of the last event."""

    now: int
    made: int
    deadline: int
    last: int
    events: Sequence[tuple[bytes, Sequence[bytes]]]

    def end(self) -> Place:
        """Return the place behind the last event."""
        if self.events:
            return Place.of(self.events[-1][0].decode())
        return Place(self.now, self.last)


class Events(EventRecords):
    """Reading what happened on sessions."""

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
        missing there is a GAP among them. Pass the last one's ``id`` to go on. Raises
        SessionNotFound, InvalidInput or StoreUnavailable.
        """
        place = Place.of("" if after is None else after)
        most = min(check_position(limit, "limit", 1), _MOST)
        found = self._look(session_id, user_id, place, most)
        return self._events_behind(session_id, place, found)

    def _look(self, session_id: str, user_id: str | None, place: Place | None, most: int) -> Found:
        """Read events behind the place, or only the last one if there is no place yet."""
        first = "" if place is None else str(Place(place.ms, place.number + 1))
        reply = self._run("read_events", session_id, user_id, first, most)
        return Found(*reply[1:])

    def _events_behind(self, session_id: str, place: Place, found: Found) -> list[Event]:
        """Turn stored events into those to hand out, with a GAP wherever numbers are missing."""
        told: list[Event] = []
        # A place from before the session was made says nothing about its numbers.
        is_foreign = place.number > 0 and place.ms < found.made

        def gap(before: Place | None, on: Place, missing: int) -> None:
            missed = missing if missing > 0 and not is_foreign else None
            data = {"after": str(place), "before": before and str(before), "missed": missed}
            told.append(Event(EventType.GAP, session_id, None, data, found.now / 1000, str(on)))

        for event_id, fields in found.events:
            here = Place.of(event_id.decode())
            events = self._events_of(session_id, str(here), fields)
            if not events:
                gap(None, here, here.number - place.number)
            else:
                seen = place.seen
                if is_foreign or here.number != place.number + 1:
                    on = Place(here.ms, max(here.number - 1, 0))
                    gap(here, on, here.number - place.number - 1)
                    seen = 0
                told.extend(events[seen:])
            place, is_foreign = here, False
        if not found.events and (is_foreign or place.number != found.last):
            on = Place(max(place.ms, found.made), found.last)
            gap(None, on, found.last - place.number)
        return told
