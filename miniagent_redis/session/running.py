"""The turns that run in this process: so that they keep their leases, and can be told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from ..errors import MiniAgentError, TurnSuperseded
from ..models import OpenTurn
from ..store.manager import RedisSessionManager

log = logging.getLogger("miniagent_redis")
_LOOK_AGAIN = 0.01


@define(eq=False)
class RunningTurn:
    """An open turn that somebody works on; ``turn`` grows with its steps."""

    turn: OpenTurn
    stop: threading.Event = field(factory=threading.Event)
    thread_id: int = field(factory=threading.get_ident)

    def must_go_on(self) -> None:
        """Raise TurnSuperseded if the turn was told to stop."""
        if self.stop.is_set():
            raise TurnSuperseded(self.turn.session_id, self.turn.turn_id)


class RunningTurns:
    """The running turns of one agent, one for each session at the most. Safe for threads."""

    def __init__(self, store: RedisSessionManager) -> None:
        self._store = store
        self._by_session: dict[str, RunningTurn] = {}
        self._lock = threading.Lock()  # over the dict

    @contextmanager
    def running(self, turn: OpenTurn) -> Iterator[RunningTurn]:
        """Keep the turn among the running ones while the block works on it."""
        running = RunningTurn(turn)
        with self._lock:
            self._by_session[turn.session_id] = running
        try:
            yield running
        finally:
            with self._lock:
                if self._by_session.get(turn.session_id) is running:
                    del self._by_session[turn.session_id]

    def stop(self, session_id: str) -> None:
        """Tell the session's turn to stop, if one runs here."""
        if running := self._by_session.get(session_id):
            running.stop.set()

    def renew_leases(self) -> None:
        """Keep the turns that run here; one that is no longer ours is told to stop."""
        for running in list(self._by_session.values()):
            try:
                self._store.renew_lease(running.turn)
            except MiniAgentError as exc:
                log.warning("the lease of turn %s was not renewed: %s", running.turn.turn_id, exc)
                if isinstance(exc, TurnSuperseded):
                    running.stop.set()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait for turns of other threads; one of this thread cannot go on while we wait."""
        me, deadline = threading.get_ident(), time.monotonic() + timeout
        while any(running.thread_id != me for running in list(self._by_session.values())):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN)
        return True
