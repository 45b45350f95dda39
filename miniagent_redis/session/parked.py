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
from .results import waiting_result, with_output
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
        while now is not None:
            try:
                result = yield from self._work.resume(thread, user_id, pauses, options)
                if result is not None and result.turn_id == turn_id:
                    return result
            except SessionWaiting:  # others were faster: see what they came to
                pass
            except TurnSuperseded:
                if (found := self._as_it_is(session_id, turn_id, user_id, options)) is None:
                    raise
                return found
            if (found := self._as_it_is(session_id, turn_id, user_id, options)) is not None:
                return found
            # Others answered more of it in between, and it goes on again: wait for them.
        if (found := self._as_it_is(session_id, turn_id, user_id, options)) is not None:
            return found
        raise _does_not_wait(session_id, turn_id, "it goes on")

    def _as_it_is(
        self, session_id: str, turn_id: str, user_id: str | None, options: TurnOptions
    ) -> TurnResult | None:
        """Return what a turn came to on which others have worked; None while they still do."""
        while True:
            now = self._store.parts.parking.parked(session_id, user_id=user_id)
            if now is not None and now.turn_id == turn_id:
                return self._waiting(now)
            state = self._named.state(session_id, turn_id, user_id)
            if state.result is not None:
                return with_output(state.result, options)
            if state.state in ("running", "abandoned"):
                return None
            if state.state != "waiting":  # that is since we looked: look again
                why = "it is over, and nothing of it is stored"
                raise _does_not_wait(session_id, turn_id, why)

    def _waiting(self, parked: Parked) -> TurnResult:
        return waiting_result(parked, self._work.accounting)

    def cancel(self, thread: KeptThread, turn_id: str, user_id: str | None) -> None:
        """End a turn, if it is one that waits, with what there is of it."""
        at_once(self._work.end_wait(thread, turn_id, user_id, pauses=False))


def _does_not_wait(session_id: str, turn_id: str, cause: str) -> InvalidInput:
    return InvalidInput(
        f"turn {turn_id} of session {session_id!r} does not wait for an answer",
        cause=cause,
        hint="turn(session_id, turn_id) tells how it stands; list_waiting() which ones wait",
    )
