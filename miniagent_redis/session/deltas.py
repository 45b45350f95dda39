"""Telling watchers of an answer while the model gives it, in pieces that are not too small."""

from __future__ import annotations

import logging
from itertools import groupby
from operator import itemgetter

from ..errors import (
    MiniAgentError,
    SessionNotFound,
    StoreUnavailable,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import new_id
from ..store.manager import RedisSessionManager
from .registry import RunningTurn

log: logging.Logger = logging.getLogger("miniagent_redis")


class Telling:
    """The text of one running turn that watchers have not heard yet.

    It is sent every ``interval`` seconds (unless None), also when no more of it comes, and before a
    step is staged. What is left when the answer is stored need not be: that is told whole.
    """

    def __init__(
        self, store: RedisSessionManager, running: RunningTurn, interval: float | None
    ) -> None:
        self._store = store
        self._running = running
        self._interval = interval
        self._pieces: list[tuple[bool, str]] = []  # whether it is reasoning, and the text
        self._unsure: tuple[str, bool, str] | None = None  # by which operation it may be told
        self._sent = store.clock.monotonic()

    def hear(self, text: str, *, reasoning: bool = False) -> None:
        """Take the next piece; send what there is, if it is time. Raises as ``finish``."""
        self._pieces.append((reasoning, text))
        self.send_late()

    def send_late(self) -> float | None:
        """Send what there is, if it is time; else return in how many seconds. Raises as ``finish``.

        None if there is nothing to send.
        """
        if self._interval is None or not self._pieces:
            return None
        now = self._store.clock.monotonic()
        if (left := self._sent + self._interval - now) > 0:
            return left
        self._sent = now
        self.finish()
        return self._interval if self._pieces else None  # it is kept while Redis is away

    def finish(self) -> None:
        """Send what there is, if there is any. Raises TurnSuperseded or SessionNotFound.

        While Redis is away it is kept, to go with the next piece; what may have been told is
        sent again as the same, so that it is neither missed nor told twice.
        """
        try:
            while self._unsure or self._pieces:
                self._send(*(self._unsure or self._next()))
                self._unsure = None
        except (TurnSuperseded, SessionNotFound):
            raise
        except MiniAgentError as exc:  # the answer matters, and it is not lost by this
            session_id = self._running.turn.session_id
            log.debug("watchers of session %s may miss a piece: %s", session_id, exc)
            if not isinstance(exc, (StoreUnavailable, TurnUncertain)):
                self.forget()

    def _send(self, operation: str, reasoning: bool, text: str) -> None:
        try:
            if text:
                self._running.turn = self._store.tell_text(
                    self._running.turn, text, reasoning=reasoning, operation=operation
                )
        except TurnUncertain:
            self._unsure = operation, reasoning, text
            raise
        except StoreUnavailable:
            if self._unsure is None:
                self._pieces.insert(0, (reasoning, text))
            raise

    def _next(self) -> tuple[str, bool, str]:
        """Take the pieces of one kind that come first, put together."""
        reasoning, same = next(
            (kind, [*group]) for kind, group in groupby(self._pieces, itemgetter(0))
        )
        del self._pieces[: len(same)]
        return new_id(), reasoning, "".join(text for _, text in same)

    def forget(self) -> None:
        """Drop what could not be sent before a step that was staged."""
        self._pieces.clear()
        self._unsure = None
