"""Turns that wait for somebody: answered from any process, and then finished there."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from ..agent import TurnOptions
from ..errors import InvalidInput, SessionWaiting, TurnSuperseded
from ..models import TurnResult
from ..runtime.pausing import Pause, at_once
from ..store.manager import RedisSessionManager
from ..store.parking import Answer, Parked
from .kept_threads import KeptThread
from .named import NamedTurns
from .results import waiting_result
from .runner import TurnWork


class ParkedTurns:
    """The parked turns of one agent. Safe for threads."""

    def __init__(self, store: RedisSessionManager, work: TurnWork, named: NamedTurns) -> None:
        self._store = store
        self._work = work
        self._named = named

    def answer(
        self,
        thread: KeptThread,
        turn_id: str,
        answers: Mapping[str, Answer],
        user_id: str | None,
        options: TurnOptions,
        pauses: bool,
    ) -> Generator[Pause, None, TurnResult]:
        """Answer calls; with the last one finish the turn. Returns what it came to by then."""
        session_id = thread.session_id
        now = self._store.parts.parking.answer(session_id, turn_id, answers, user_id=user_id)
        if now is not None and now.calls:
            return self._waiting(now)
        superseded: TurnSuperseded | None = None
        if now is not None:
            try:
                result = yield from self._work.resume(thread, user_id, pauses, options)
                if result is not None:
                    return result
            except SessionWaiting:  # others were faster: see what they came to
                pass
            except TurnSuperseded as exc:
                superseded = exc
        return self._as_it_is(session_id, turn_id, user_id, superseded)

    def _as_it_is(
        self, session_id: str, turn_id: str, user_id: str | None, superseded: TurnSuperseded | None
    ) -> TurnResult:
        """Return what a turn came to on which others work, or have worked.

        If they still do, having taken it over from here, ``superseded`` is raised.
        """
        now = self._store.parts.parking.parked(session_id, user_id=user_id)
        if now is not None and now.turn_id == turn_id:
            return self._waiting(now)
        state = self._named.state(session_id, turn_id, user_id)
        if state.result is not None:
            return state.result
        running = state.state in ("running", "abandoned")
        if running and superseded is not None:
            raise superseded
        raise InvalidInput(
            f"turn {turn_id} of session {session_id!r} does not wait for an answer",
            cause="it goes on" if running else "it is over, and nothing of it is stored",
            hint="turn(session_id, turn_id) tells how it stands; list_waiting() which ones wait",
        )

    def _waiting(self, parked: Parked) -> TurnResult:
        return waiting_result(parked, self._work.accounting)

    def cancel(self, thread: KeptThread, user_id: str | None) -> None:
        """End the session's turn, if it is one that waits, with what there is of it."""
        at_once(self._work.end_wait(thread, None, user_id, pauses=False))
