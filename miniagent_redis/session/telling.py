"""Telling watchers of an answer while the model gives it, in pieces that are not too small."""

from __future__ import annotations

import logging

from ..errors import MiniAgentError, TurnSuperseded
from ..store.manager import RedisSessionManager
from .running import RunningTurn

log = logging.getLogger("miniagent_redis")


class Telling:
    """The text of one running turn that watchers have not heard yet.

    It is sent every ``interval`` seconds while more of it comes (None: never). What is left when a
    step or the answer is stored need not be: these are told whole.
    """

    def __init__(
        self, store: RedisSessionManager, running: RunningTurn, interval: float | None
    ) -> None:
        self._store = store
        self._running = running
        self._interval = interval
        self._pieces: list[str] = []
        self._sent = store.clock.monotonic()

    def hear(self, text: str) -> None:
        """Take the next piece; send what there is, if it is time. Raises TurnSuperseded."""
        if self._interval is None:
            return
        self._pieces.append(text)
        now = self._store.clock.monotonic()
        if now - self._sent < self._interval:
            return
        self._sent = now
        try:
            self._running.turn = self._store.tell_text(self._running.turn, "".join(self._pieces))
        except TurnSuperseded:
            raise
        except MiniAgentError as exc:  # the answer matters, and it is not lost by this
            log.debug("watchers of session %s miss a piece: %s", self._running.turn.session_id, exc)
        self.forget()

    def forget(self) -> None:
        """Drop what was not sent: it is told in another way."""
        self._pieces.clear()
