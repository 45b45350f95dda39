"""Events: what happened on a session, read from its stream; whatever is missing shows as a gap.

An event's id is ``<ms>-<number>``: when it happened, and how many events the session had by then.
So whoever knows the last id that it saw knows which number comes next, and that another session of
the same id, or a server that came back with older data, is not the same story.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from .._mirror import raise_if_cancelled
from ..codec import Json, Unreadable, message_from_data, upcast
from ..errors import InvalidInput, SchemaTooNew, SessionNotFound, StoreUnavailable
from ..models import Event, EventType
from ..wire import Waiting
from .base import StoreBase, check_position, check_wait, log
from .patience import Patience

PAGE: Final = 50
"""Events that a watcher reads at once; each may hold a message of any size."""
_MOST = 1000
_BLOCK = 1.0
"""Seconds after which a watcher looks whether the session is still there, and its user's."""
_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)


@frozen
class _Place:
    """A place in the stream, in front of event ``number + 1``."""

    ms: int
    number: int

    @classmethod
    def of(cls, event_id: object) -> _Place:
        if event_id in ("", "0"):
            return cls(0, 0)
        if not isinstance(event_id, str) or not (found := _ID.fullmatch(event_id)):
            raise InvalidInput(
                f"{event_id!r:.60} is not the id of an event",
                hint="pass Event.id as it is, or '' for the oldest event that is kept",
            )
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


@frozen
class _Found:
    """What one look at the stream gave; times in ms. ``last`` is the number of the last event."""

    now: int
    made: int
    deadline: int
    last: int
    events: Sequence[tuple[bytes, Sequence[bytes]]]

    def end(self) -> _Place:
        """Return the place behind the last event."""
        if self.events:
            return _Place.of(self.events[-1][0].decode())
        return _Place(self.now, self.last)


class Events(StoreBase):
    """Reading what happened on sessions, and watching it happen."""

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
        place = _Place.of("" if after is None else after)
        most = min(check_position(limit, "limit", 1), _MOST)
        found = self._look(session_id, user_id, place, most)
        return self._events_behind(session_id, place, found)

    def watch(
        self,
        session_id: str,
        after: str | None = None,
        timeout: float | None = None,
        *,
        user_id: str | None = None,
    ) -> Iterator[Event]:
        """Yield events as they happen, on whichever instance: from the first ``next`` on.

        ``after`` is the ``id`` of the last event seen, to go on behind it, or "" to begin with the
        oldest that is kept. Blocks. Ends after ``timeout`` seconds without an event, behind
        SESSION_ENDED or SESSION_EXPIRED (within a second of it), and when the store disconnects.

        It begins only if Redis answers and the session is there. From then on it rides out
        outages, up to ``timeout`` seconds each, and goes on behind the last event; what could not
        be had is told as a GAP, and no event comes twice. Raises SessionNotFound, also if the
        session was lost with the server, InvalidInput, StoreMisconfigured or StoreUnavailable.
        """
        place = None if after is None else _Place.of(after)
        if timeout is not None:
            check_wait(timeout, "timeout")
        patience = Patience(self.clock, f"watching session {session_id!r}", timeout)
        known: _Found | None = None
        key = self.keys.events(session_id)
        self._call("PING")  # an outage is told as by any other call
        with self.connections.waiting(_BLOCK) as waiting:
            quiet_since = self.clock.monotonic()
            is_same_server = False
            while known is None or self.connections.is_open:
                raise_if_cancelled()
                try:
                    if not waiting.is_connected:
                        is_same_server = False
                        waiting.call("PING")
                    found = self._look(session_id, user_id, place, PAGE)
                    if known is not None and found.made != known.made:
                        raise SessionNotFound(session_id)  # this is another one of the same id
                    known, is_same_server = found, True
                    if place is None:
                        place = found.end()
                        continue
                    events = self._events_behind(session_id, place, found)
                    if not events:
                        left = _BLOCK
                        if timeout is not None:
                            left = timeout - (self.clock.monotonic() - quiet_since)
                            if left <= 0:
                                return
                        # It only wakes: what is handed on is read together with the owner.
                        block = max(1, round(min(left, _BLOCK) * 1000))
                        waiting.call("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", key, place)
                    patience.is_over()
                except StoreUnavailable as exc:
                    if known is None:
                        raise
                    patience.pause(exc)
                    continue
                except SessionNotFound:
                    if known is None or not is_same_server or not (time := _time(waiting)):
                        raise
                    yield self._ending(session_id, known, time)
                    return
                for event in events:
                    place = _Place.of(event.id)
                    yield event
                if events:
                    quiet_since = self.clock.monotonic()

    def _look(
        self, session_id: str, user_id: str | None, place: _Place | None, most: int
    ) -> _Found:
        """Read events behind the place, or only the last one if there is no place yet."""
        first = "" if place is None else str(_Place(place.ms, place.number + 1))
        reply = self._run("read_events", session_id, user_id, first, most)
        return _Found(*reply[1:])

    def _events_behind(self, session_id: str, place: _Place, found: _Found) -> list[Event]:
        """Turn stored events into those to hand out, with a GAP wherever numbers are missing."""
        told: list[Event] = []
        # A place from before the session was made says nothing about its numbers.
        is_foreign = place.number > 0 and place.ms < found.made

        def gap(before: _Place | None, on: _Place, missing: int) -> None:
            missed = missing if missing > 0 and not is_foreign else None
            data = {"after": str(place), "before": before and str(before), "missed": missed}
            told.append(Event(EventType.GAP, session_id, None, data, found.now / 1000, str(on)))

        for event_id, fields in found.events:
            here = _Place.of(event_id.decode())
            event = self._event(session_id, here, fields)
            if event is None:
                gap(None, here, here.number - place.number)
            else:
                if is_foreign or here.number != place.number + 1:
                    on = _Place(here.ms, max(here.number - 1, 0))
                    gap(here, on, here.number - place.number - 1)
                told.append(event)
            place, is_foreign = here, False
        if not found.events and (is_foreign or place.number != found.last):
            on = _Place(max(place.ms, found.made), found.last)
            gap(None, on, found.last - place.number)
        return told

    def _event(self, session_id: str, place: _Place, fields: Sequence[bytes]) -> Event | None:
        """Decode a stored event; None for one that this version does not know."""
        stored = dict(zip(fields[::2], fields[1::2], strict=False))
        try:
            kind = EventType(stored.get(b"type", b"").decode())
            version = int(stored.get(b"version", b"0"))
        except ValueError:
            self.unreadable_records += 1
            log.warning("event %s of session %s is of no known kind", place, session_id)
            return None
        turn = stored.get(b"turn", b"").decode("utf-8", "replace") or None
        try:
            data = self._event_data(kind, stored.get(b"record", b""), version)
        except (Unreadable, SchemaTooNew) as exc:
            self.unreadable_records += 1
            log.warning("the record in event %s of session %s cannot be read: %s",
                        place, session_id, exc)  # fmt: skip
            data = {"unreadable": str(exc)}
        return Event(kind, session_id, turn, data, place.ms / 1000, str(place))

    def _event_data(self, kind: EventType, raw: bytes, version: int) -> Json:
        if kind is EventType.TURN_FAILED:
            why = upcast(self._readable(raw), "a failure") if raw else {}
            return {"error": str(why.get("error", "")), "message": str(why.get("message", ""))}
        if not raw:
            return {"version": version}
        message = message_from_data(self._readable(raw))
        data: Json = {"message": message.to_dict(), "version": version}
        if kind is EventType.TURN_STARTED:
            data["resumed"] = False
        if kind is EventType.AGENT_RESPONSE:
            data |= {"text": message.text, "persisted": True}
        return data

    def _readable(self, raw: bytes) -> Json:
        data = self._data(raw)
        if isinstance(data, Unreadable):
            raise data
        return data

    def _ending(self, session_id: str, known: _Found, time: Sequence[bytes]) -> Event:
        """Build the last event of a session that is not there any more."""
        now = self.clock.server_now_ms()
        if now is None:
            now = int(time[0]) * 1000 + int(time[1]) // 1000
        is_due = now >= known.deadline
        kind = EventType.SESSION_EXPIRED if is_due else EventType.SESSION_ENDED
        return Event(kind, session_id, None, {}, now / 1000)


def _time(waiting: Waiting) -> Sequence[bytes]:
    """Return TIME from the very server that had the session a moment ago; nothing if it is gone."""
    try:
        time: Sequence[bytes] = waiting.call("TIME")
    except StoreUnavailable:
        return ()
    return time
