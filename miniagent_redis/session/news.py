"""Events that no running turn tells: of Redis' health, and of turns that were spooled."""

from __future__ import annotations

from ..agent import StreamCallback
from ..connection.availability import Health
from ..errors import MiniAgentError
from ..maintenance.spool_file import SpooledTurn
from ..models import Event
from ..models.event import health_changed, time_of, turn_failed, turn_replayed
from ..runtime.clock import Clock


class News:
    """Tells an agent's callbacks."""

    def __init__(self, callbacks: StreamCallback, clock: Clock) -> None:
        self._callbacks = callbacks
        self._clock = clock

    def of_health(self, health: Health) -> None:
        kind, data = health_changed(health.state, health.error)
        self._callbacks.emit(Event(kind, "", None, data, self._clock.time()))

    def of_spooled(self, spooled: SpooledTurn, end: int | MiniAgentError) -> None:
        turn = spooled.turn
        if isinstance(end, MiniAgentError):
            kind, data = turn_failed(end)
        else:
            kind, data = turn_replayed(turn.staged[-1], end)
        its_id = "".join(turn.event_ids[-1:])
        at = time_of(its_id) if its_id else self._clock.time()
        self._callbacks.emit(Event(kind, turn.session_id, turn.turn_id, data, at, its_id))
