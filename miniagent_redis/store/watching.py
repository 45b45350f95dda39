"""Watching a session: its events as they happen, through outages, until it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define

from ..connection.line import Line
from ..errors import SessionNotFound, StoreUnavailable
from ..models import Event, EventType
from ..runtime.durations import Duration
from ..runtime.interrupts import WeakRegistry
from ..runtime.outage import Patience
from ..runtime.pausing import Pause, Steps, run_in_thread
from .checks import optional_wait
from .core import StoreCore
from .events import Events, Place, end_of
from .operations.events import Found
from .turn_watching import TurnWatching
from .wakes import Wakes

PAGE: Final = 50
"""Most events that a watcher reads at once."""
_LONGEST_WAIT = 20.0
"""Seconds after which a watcher looks though nothing was told."""


@define
class _Watch:
    """How far a watcher is; ``known`` and ``line`` are of its last look."""

    session_id: str
    user_id: str | None
    place: Place | None
    known: Found | None = None
    line: Line | None = None
    """Unbroken, it leads to the very server that had the session."""

    @property
    def is_behind(self) -> bool:
        """Whether there may be more to be read already."""
        return self.known is not None and bool(self.known.more)

    @property
    def time_left(self) -> float:
        """For how many seconds the session lives, as of the last look, if nothing happens."""
        known = self.known
        return math.inf if known is None else (known.deadline_ms - known.now_ms + 1) / 1000


class Watching:
    """Watching things happen on sessions."""

    def __init__(self, core: StoreCore, events: Events, turns: TurnWatching) -> None:
        self._core = core
        self._events = events
        self._turns = turns
        self._watches: WeakRegistry[_Watch] = WeakRegistry()

    @property
    def watchers(self) -> int:
        """How many watch here now."""
        return len(self._watches)

    def watch(
        self,
        session_id: str,
        after: str | None = None,
        timeout: Duration | None = None,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
    ) -> Iterator[Event]:
        """Yield events as they happen, on whichever instance: from the first ``next`` on.

        ``after`` is the ``id`` of the last event seen, to go on behind it, or "" to begin with the
        oldest that is kept. With a ``turn_id`` only that turn's events come, from its first one
        on (unless ``after`` is given) to the one that ends it. Blocks. Ends after ``timeout``
        seconds without an event, behind SESSION_ENDED or SESSION_EXPIRED (within a second of it),
        and when the store disconnects.

        It begins only if Redis answers and the session is there. From then on it rides out
        outages, up to ``timeout`` seconds each, and goes on behind the last event; what could not
        be had is told as a GAP, and no event comes twice. Raises SessionNotFound, also if the
        session was lost with the server, InvalidInput, StoreMisconfigured or StoreUnavailable.
        """
        steps = self.watch_in_steps(session_id, after, timeout, user_id=user_id, turn_id=turn_id)
        return run_in_thread(steps, self._core.clock)

    def watch_in_steps(
        self,
        session_id: str,
        after: str | None = None,
        timeout: Duration | None = None,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
    ) -> Steps[Event]:
        """Do what ``watch`` does, but yield each pause instead of waiting."""
        if turn_id is None:
            return self._watch(session_id, after, timeout, user_id=user_id)
        return self._turns.watch_in_steps(self._watch, session_id, turn_id, after, timeout, user_id)

    def _watch(
        self,
        session_id: str,
        after: str | None = None,
        timeout: Duration | None = None,
        *,
        user_id: str | None = None,
    ) -> Steps[Event]:
        watch = _Watch(session_id, user_id, None if after is None else Place.of(after))
        longest = optional_wait(timeout)
        session_id = self._core.on(session_id, user_id).session_id  # refused before all else
        clock, connections = self._core.clock, self._core.connections
        patience = Patience(clock, f"watching session {session_id!r}", longest)
        self._core.call("PING")  # an outage is told as by any other call
        channel = self._core.keys.events(session_id)
        with self._counted(watch), Wakes(self._core, channel) as wakes:
            quiet_since = clock.monotonic()
            while watch.known is None or connections.is_open:
                try:
                    wakes.get_ready()
                    events = self._news(watch, wakes)
                    patience.end()
                except StoreUnavailable as exc:
                    if watch.known is None:
                        raise
                    yield Pause(wakes.flag, patience.next_pause(exc))
                    continue
                except SessionNotFound:
                    if (ending := self._ending(watch, wakes)) is None:
                        raise
                    yield ending
                    return
                for event in events:
                    watch.place = Place.of(event.id)
                    yield event
                if events:
                    quiet_since = clock.monotonic()
                if watch.is_behind:
                    continue
                left = min(wakes.pace(_LONGEST_WAIT), watch.time_left)
                if longest is not None:
                    left = min(left, longest - (clock.monotonic() - quiet_since))
                if left <= 0 and not wakes.flag.is_set():
                    return
                yield Pause(wakes.flag, left)

    @contextmanager
    def _counted(self, watch: _Watch) -> Iterator[None]:
        """Have it among the ``watchers`` while the block runs."""
        self._watches.add(watch)
        try:
            yield
        finally:
            self._watches.discard(watch)

    def _news(self, watch: _Watch, wakes: Wakes) -> list[Event]:
        """Return the events behind the watch's place: one read, together with the owner."""
        line = wakes.line
        found = self._events.look(watch.session_id, watch.user_id, watch.place, PAGE)
        if watch.known is not None and found.made_ms != watch.known.made_ms:
            raise SessionNotFound(watch.session_id)  # this is another one of the same id
        watch.known, watch.line = found, line
        if watch.place is None:
            watch.place = end_of(found)
            return []
        return self._events.behind(watch.session_id, watch.place, found)

    def _ending(self, watch: _Watch, wakes: Wakes) -> Event | None:
        """Build the last event of a session that is not there any more.

        None if nobody knows: it may have been lost with the server that had it at the last look.
        """
        if watch.known is None or watch.line is None:
            return None
        if not wakes.is_unbroken(watch.line):
            return None
        try:
            now = self._core.now_ms(self._core.call("TIME"))
        except StoreUnavailable:
            return None
        is_due = now >= watch.known.deadline_ms
        kind = EventType.SESSION_EXPIRED if is_due else EventType.SESSION_ENDED
        return Event(kind, watch.session_id, None, {}, now / 1000)
