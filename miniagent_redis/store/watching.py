"""Watching a session: its events as they happen, through outages, until it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define

from .._mirror import raise_if_cancelled
from ..errors import SessionNotFound, StoreUnavailable
from ..models import Event, EventType
from ..wire import Waiting
from .base import check_wait
from .events import Events, Found, Place
from .patience import Patience

PAGE: Final = 50
"""Events that a watcher reads at once; each may hold a message of any size."""
_BLOCK = 1.0
"""Seconds after which a watcher looks whether the session is still there, and its user's."""


@define
class _Watch:
    """How far a watcher is. ``is_same_server``: it is connected since it saw the session."""

    session_id: str
    user_id: str | None
    place: Place | None
    known: Found | None = None
    is_same_server: bool = False


class Watching(Events):
    """Watching things happen on sessions."""

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
        watch = _Watch(session_id, user_id, None if after is None else Place.of(after))
        if timeout is not None:
            check_wait(timeout, "timeout")
        patience = Patience(self.clock, f"watching session {session_id!r}", timeout)
        self._call("PING")  # an outage is told as by any other call
        with self.connections.waiting(_BLOCK) as waiting:
            quiet_since = self.clock.monotonic()
            while watch.known is None or self.connections.is_open:
                raise_if_cancelled()
                try:
                    events = self._news(watch, waiting)
                    if not events:
                        left = _BLOCK
                        if timeout is not None:
                            left = min(left, timeout - (self.clock.monotonic() - quiet_since))
                        if left <= 0:
                            return
                        self._wait_for_more(watch, waiting, left)
                    patience.end()
                except StoreUnavailable as exc:
                    if watch.known is None:
                        raise
                    patience.pause(exc)
                    continue
                except SessionNotFound:
                    if not watch.is_same_server or not (time := _time(waiting)):
                        raise
                    yield self._ending(watch, time)
                    return
                for event in events:
                    watch.place = Place.of(event.id)
                    yield event
                if events:
                    quiet_since = self.clock.monotonic()

    def _news(self, watch: _Watch, waiting: Waiting) -> list[Event]:
        """Return the events behind the watch's place; connect first if need be."""
        if not waiting.is_connected:
            watch.is_same_server = False
            waiting.call("PING")
        found = self._look(watch.session_id, watch.user_id, watch.place, PAGE)
        if watch.known is not None and found.made != watch.known.made:
            raise SessionNotFound(watch.session_id)  # this is another one of the same id
        watch.known, watch.is_same_server = found, True
        if watch.place is None:
            watch.place = found.end()
            return []
        return self._events_behind(watch.session_id, watch.place, found)

    def _wait_for_more(self, watch: _Watch, waiting: Waiting, seconds: float) -> None:
        """Block until there may be more. What woke us is read again, together with the owner."""
        block = max(1, round(seconds * 1000))
        key = self.keys.events(watch.session_id)
        waiting.call("XREAD", "COUNT", 1, "BLOCK", block, "STREAMS", key, str(watch.place))

    def _ending(self, watch: _Watch, time: Sequence[bytes]) -> Event:
        """Build the last event of a session that is not there any more."""
        now = self.clock.server_now_ms()
        if now is None:
            now = int(time[0]) * 1000 + int(time[1]) // 1000
        assert watch.known is not None
        is_due = now >= watch.known.deadline
        kind = EventType.SESSION_EXPIRED if is_due else EventType.SESSION_ENDED
        return Event(kind, watch.session_id, None, {}, now / 1000)


def _time(waiting: Waiting) -> Sequence[bytes]:
    """Return TIME from the very server that had the session a moment ago; nothing if it is gone."""
    try:
        time: Sequence[bytes] = waiting.call("TIME")
    except StoreUnavailable:
        return ()
    return time
