"""Turns that were given up while Redis was away: dropped as soon as it is back.

Else the next message would find such a turn abandoned and finish it first, and whoever sent its
message again, as the error told him, would have it answered twice.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from attrs import evolve, frozen

from ..errors import (
    MiniAgentError,
    ModelError,
    SessionNotFound,
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import OpenTurn, ThreadSlice, UsageTotals
from ..runtime.forking import reset_after_fork
from ..store.manager import RedisSessionManager
from ..store.operations.turn import Dropped
from .accounting import Accounting

log: logging.Logger = logging.getLogger("miniagent_redis")
NOTHING = UsageTotals()
_NO_THREAD = ThreadSlice(0, 0, 0, 0, (), ())
_MOST = 10_000
WILL_BE_DROPPED = "this agent drops the turn before it begins another one of the session"
NOT_KEPT = (
    SessionNotFound,
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
"""Errors behind which a turn is dropped whatever it did: the store is away, or it is not ours."""


@frozen
class GivenUp:
    """A turn that ended with an error: what it took by then, and what if it is stored after all."""

    turn: OpenTurn
    error: BaseException
    spent: UsageTotals = NOTHING
    answered: UsageTotals | None = None


class GivenUpTurns:
    """Drops turns, and remembers those that could not be dropped. Safe for threads."""

    def __init__(self, store: RedisSessionManager, accounting: Accounting) -> None:
        self._store = store
        self._accounting = accounting
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._waiting: dict[str, GivenUp] = {}  # by turn id; a forked child has no part in them
        self._lock = threading.RLock()  # over dropping them

    def __len__(self) -> int:
        return len(self._waiting)

    def drop(self, lost: GivenUp) -> Dropped:
        """Drop a turn, unless it turns out to be stored by its commit; count what it took, once.

        If Redis is away that is done when it is back; then raises StoreUnavailable or
        TurnUncertain.
        """
        try:
            dropped = self._store.parts.turns.drop_turn(lost.turn, lost.error, spent=lost.spent)
        except (StoreUnavailable, TurnUncertain):
            if len(self._waiting) < _MOST:
                turn = evolve(lost.turn, thread=_NO_THREAD, staged=())
                self._waiting[turn.turn_id] = evolve(lost, turn=turn)
            raise
        self._waiting.pop(lost.turn.turn_id, None)
        if dropped.stored and lost.answered is not None:
            self._accounting.note(lost.turn, lost.answered)
        elif dropped.is_counted and lost.spent is not NOTHING:
            self._accounting.note(lost.turn, lost.spent)
        return dropped

    def drop_begun(self, error: TurnUncertain, user_id: str | None) -> None:
        """Drop a turn of which it is not known whether it has begun, now or later."""
        turn = OpenTurn(
            error.session_id, error.turn_id, error.holder, _NO_THREAD, (), user_id=user_id
        )
        with suppress(MiniAgentError):
            self.drop(GivenUp(turn, error))

    def settle(self, session_id: str | None = None) -> None:
        """Drop those that wait, of one session or of all.

        Raises StoreUnavailable or TurnUncertain if one still has to wait.
        """
        if not self._waiting:
            return
        with self._lock:  # each is counted once, and who begins a turn comes behind this
            for lost in list(self._waiting.values()):
                if session_id not in (None, lost.turn.session_id):
                    continue
                try:
                    self.drop(lost)
                except (StoreUnavailable, TurnUncertain):
                    raise
                except MiniAgentError as exc:
                    log.warning("turn %s cannot be dropped: %s", lost.turn.turn_id, exc)
                    self._waiting.pop(lost.turn.turn_id, None)


def tell_what_stands(error: BaseException, dropped: Dropped | None) -> None:
    """Let the hint of the error with which a turn ended say what has become of the turn."""
    if not isinstance(error, (TurnNotSaved, TurnUncertain, StoreUnavailable)):
        return
    again = "send the message again"
    if dropped is None:
        again = f"{again} once Redis is back: {WILL_BE_DROPPED}"
    elif dropped.was_ours:
        again = f"{again}: the turn was dropped, and nothing of it is stored"
    if isinstance(error, TurnNotSaved):
        error.hint = f"the answer is in .text; {again}"
    elif isinstance(error, StoreUnavailable):
        error.hint = f"{error.hint}; then {again}"
    elif dropped is None:
        error.hint = (
            "ask resolve_turn(session_id, turn_id) once Redis answers again; unless that says "
            f'"committed", {again}'
        )
    elif dropped.was_ours:
        error.hint = again


def raise_first(first: BaseException | None, then: MiniAgentError) -> None:
    """Raise what ended a turn that could not be stored then, unless the model did."""
    if first is not None and not isinstance(first, ModelError):
        raise first from then
