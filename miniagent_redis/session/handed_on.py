"""A turn that the agent's pool works on, for a reader who may leave: it goes on without him."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import Future
from typing import cast

from ..errors import TurnSuperseded
from ..models import Event, OpenTurn, TurnResult
from ..runtime.cancellation import raise_if_cancelled, ring_when_cancelled
from ..runtime.inbox import Inbox
from ..runtime.pausing import Pause
from ..runtime.threads import make_room
from .results import Turn


class HandedOn:
    """What happens in an open turn, handed from the thread that works on it to one reader."""

    def __init__(self, turn: OpenTurn, *, pauses: bool) -> None:
        self._turn = turn
        self._pauses = pauses
        self._inbox: Inbox[Event | Future[TurnResult]] = Inbox(pauses=pauses)
        self.is_left: bool = False
        """Whether nobody reads it any more."""

    def hear(self, work: Turn) -> Generator[Pause, None, TurnResult]:
        """Do the work, pause where it does, and hand its events on."""
        try:
            while True:
                event = next(work)
                if isinstance(event, Pause):
                    yield event
                elif not self.is_left:
                    self._inbox.put(event)
        except StopIteration as end:
            result: TurnResult = end.value
            return result
        finally:
            work.close()

    def read(self, future: Future[TurnResult]) -> Turn:
        """Yield the events until the future has the turn's result, which is returned."""
        future.add_done_callback(self._inbox.put)
        ring_when_cancelled(self._inbox)
        if not self._pauses:
            make_room()
        try:
            while not isinstance(found := (yield from self._inbox.next(self._check)), Future):
                yield found
        finally:
            self.is_left = True
        return cast(TurnResult, None) if found.cancelled() else found.result()

    def _check(self) -> None:
        raise_if_cancelled()
        if self._turn.process_id != os.getpid():  # a forked child has no part in it
            raise TurnSuperseded(self._turn.session_id, self._turn.turn_id)
