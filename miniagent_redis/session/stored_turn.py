"""A turn of a session as its agent sees it: steps go to the store, events to all who listen."""

from __future__ import annotations

from collections.abc import Sequence

from ..agent import StreamCallback, TurnContext
from ..models import Event, EventType, Message, OpenTurn
from ..models.event import Told, turn_started
from ..store.manager import RedisSessionManager
from .deltas import Telling
from .registry import RunningTurn


class StoredTurn(TurnContext):
    """An open turn on which this process works. ``open`` is it, with all that is staged."""

    def __init__(
        self,
        store: RedisSessionManager,
        running: RunningTurn,
        callbacks: StreamCallback,
        delta_interval: float | None,
    ) -> None:
        turn = running.turn
        super().__init__(turn.session_id, turn.turn_id, turn.user_id, clock=store.clock)
        self.running = running
        self._store = store
        self._callbacks = callbacks
        self._telling = Telling(store, running, delta_interval)
        self._began = store.clock.monotonic()
        self._told = 0  # how many of the turn's event ids have been given out
        self.unstored: Sequence[Message] = ()
        """Messages that were to be staged last, if they are not."""

    @property
    def open(self) -> OpenTurn:
        """The turn as the store knows it."""
        return self.running.turn

    @property
    def is_stopped(self) -> bool:
        """Whether others have taken the turn's place."""
        return self.running.is_stopped

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for the turn's end."""
        return self.running.is_cancelled

    @property
    def seconds(self) -> float:
        """How long the turn has taken so far."""
        return self.clock.monotonic() - self._began

    def start(self) -> Event:
        """Tell that the turn begins."""
        turn = self.open
        started = turn_started(turn.staged[0], turn.thread.version, resumed=turn.resumed)
        return self.tell_stored(started)

    def tell_stored(self, told: Told) -> Event:
        """Return the event of what the store has just told watchers; with their id, if it has."""
        return self.tell(told, "".join(self._new_ids()[-1:]))

    def _new_ids(self) -> list[str]:
        """Return the ids of the events that the store told since this was asked."""
        ids = self.open.event_ids[self._told :]
        self._told += len(ids)
        return ids

    def stage(self, messages: Sequence[Message]) -> Sequence[str]:
        """Stage messages, behind the text of theirs that watchers have not heard yet."""
        self.running.must_go_on()
        self._telling.finish()
        self.unstored = messages
        self.running.turn = self._store.stage_step(self.open, messages)
        self.unstored = ()
        self._telling.forget()
        return self._new_ids()

    def renew(self) -> None:
        """Renew the lease, and hear whether the turn is cancelled."""
        self.running.turn = self._store.renew_lease(self.open)

    def hear(self, event: Event) -> None:
        """Tell callbacks of it, and watchers of text."""
        self._callbacks.emit(event)
        if event.type is EventType.TEXT_DELTA:
            self._telling.hear(event.text)
