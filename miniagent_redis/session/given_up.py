"""Turns that were given up while Redis was away: dropped as soon as it is back.

Else the next message would find such a turn abandoned and finish it first, and whoever sent its
message again, as the error told him, would have it answered twice. Those in which a tool has run
are not dropped but stored then.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress

from attrs import Factory, evolve, frozen

from ..errors import (
    MiniAgentError,
    ModelError,
    SessionBusy,
    SessionNotFound,
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..models import Message, OpenTurn, ThreadSlice, UsageTotals
from ..runtime.forking import reset_after_fork
from ..store.checks import is_closed
from ..store.manager import RedisSessionManager
from ..store.operations.turn import Dropped
from ..store.usage_kinds import ToolTotals
from .accounting import Accounting

log: logging.Logger = logging.getLogger("miniagent_redis")
NOTHING = UsageTotals()
_NO_THREAD = ThreadSlice(0, 0, 0, 0, (), ())
_MOST = 10_000
_MOST_KEPT = 1_000  # as each holds all of its messages; more are left open in Redis
WILL_BE_DROPPED = "this agent drops the turn before it begins another one of the session"
WILL_BE_STORED = (
    "what it did is stored before this agent begins another turn of the session, or, if this "
    "process ends first, whoever takes the turn over goes on from there: do not send the message "
    "again"
)
AWAY = (StoreMisconfigured, StoreUnavailable, TurnUncertain)
"""Errors that say that nothing can be stored now."""
NOT_KEPT = (*AWAY, SessionNotFound, TurnNotSaved, TurnSuperseded)
"""Errors behind which a turn is not stored at once: the store is away, or it is not ours."""


@frozen
class GivenUp:
    """A turn that ended with an error: what it took by then, and what if it is stored after all.

    If a tool ran in it, it is not dropped but stored later, with what it came to: all of its
    messages behind the user's are ``kept`` for that.
    """

    turn: OpenTurn
    error: BaseException
    spent: UsageTotals = NOTHING
    answered: UsageTotals | None = None
    kept: tuple[Message, ...] = ()
    tools: Mapping[str, ToolTotals] = Factory(dict)
    """Those that ran in it."""


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

    def __contains__(self, turn_id: str) -> bool:
        """Whether that turn waits to be dropped, or stored."""
        return turn_id in self._waiting

    def drop(self, lost: GivenUp) -> Dropped:
        """Drop a turn, unless it turns out to be stored by its commit; count what it took, once.

        One that is ``kept`` is stored. If Redis is away either is done when it is back; then raises
        StoreUnavailable or TurnUncertain. What is ``kept`` waits for others too that stand in its
        way: SessionBusy, StoreMisconfigured.
        """
        waits = (*AWAY, SessionBusy) if lost.kept else (StoreUnavailable, TurnUncertain)
        try:
            if lost.kept:
                dropped = self._store_late(lost)
            else:
                dropped = self._store.parts.turns.drop_turn(lost.turn, lost.error, spent=lost.spent)
        except waits:
            if len(self._waiting) < (_MOST_KEPT if lost.kept else _MOST):
                thread = evolve(lost.turn.thread, messages=(), indexes=(), unreadable=())
                staged = lost.turn.staged if lost.kept else ()
                turn = evolve(lost.turn, thread=thread, staged=staged)
                self._waiting[turn.turn_id] = evolve(lost, turn=turn)
            raise
        self._waiting.pop(lost.turn.turn_id, None)
        if dropped.stored and lost.answered is not None:
            self._accounting.note(lost.turn, lost.answered, lost.tools)
        elif dropped.is_counted and lost.spent is not NOTHING:
            self._accounting.note(lost.turn, lost.spent, lost.tools)
        return dropped

    def _store_late(self, lost: GivenUp) -> Dropped:
        """Store a turn as it was when it was given up, unless others have gone on with it."""
        turn, kept = lost.turn, lost.kept
        whole = evolve(turn, staged=(*turn.staged[:1], *kept))
        staged = len(turn.staged) if is_closed(turn.staged) else None
        spent = NOTHING if lost.answered is None else lost.answered
        try:
            version = self._store.parts.storing.replay_turn(whole, spent=spent, staged=staged)
        except TurnUncertain:
            ask_for_any(self._store, turn.turn_id)
            raise
        return Dropped(0, 1, stored=version)

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
                    if lost.kept and isinstance(exc, (SessionBusy, StoreMisconfigured)):
                        continue
                    what = "stored late" if lost.kept else "dropped"
                    log.warning("turn %s cannot be %s: %s", lost.turn.turn_id, what, exc)
                    self._waiting.pop(lost.turn.turn_id, None)


def ask_for_any(store: RedisSessionManager, turn_id: str) -> None:
    """Have ``resolve_turn`` tell of an uncertain turn whether it is stored, by whichever instance.

    That is what whoever chats wants to know: whether the message is answered.
    """
    store.parts.core.uncertain.ask_for_any(turn_id)


def tell_what_stands(error: BaseException, dropped: Dropped | None, *, is_kept: bool) -> None:
    """Let the hint of the error with which a turn ended say what has become of the turn."""
    if not isinstance(error, (TurnNotSaved, *AWAY)):
        return
    if is_kept:
        error.hint = f"the answer is in .text; once Redis is back {WILL_BE_STORED}"
        return
    if isinstance(error, StoreMisconfigured):
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
    """Raise what ended a turn that could not be stored then, unless model or store did."""
    if first is not None and not isinstance(first, (ModelError, *AWAY)):
        raise first from then
