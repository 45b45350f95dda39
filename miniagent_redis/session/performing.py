"""Doing the work of an open turn: let the agent work it out, save it, park it, or give it up."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

from ..agent import Agent, StreamCallback, TurnOptions, TurnOutcome
from ..agent.broken_off import ended, failure_of, why
from ..errors import MiniAgentError, ModelError, TurnNotSaved, TurnUncertain
from ..maintenance.spool import Spool
from ..models import Event, Message, OpenTurn, TurnResult, UsageTotals
from ..models.event import agent_response, turn_failed
from ..runtime.pausing import Pause
from ..store.giving_up import TurnGivenUp
from ..store.manager import RedisSessionManager
from ..store.usage_kinds import tools_of
from ..telemetry import Telemetry, TurnRun
from .accounting import Accounting
from .given_up import AWAY, GivenUp, GivenUpTurns, raise_first, tell_what_stands
from .registry import RunningTurns
from .results import Turn, closable, result_of, what_is_stored
from .stored_turn import StoredTurn
from .summarising import Summaries
from .thread import SessionThread
from .titling import Titling

log: logging.Logger = logging.getLogger("miniagent_redis")


class Performing:
    """Works on open turns of one agent. Safe for threads."""

    def __init__(
        self,
        store: RedisSessionManager,
        agent: Agent,
        running: RunningTurns,
        callbacks: StreamCallback,
        spool: Spool | None,
        accounting: Accounting,
        given_up: GivenUpTurns,
        titling: Titling,
        summaries: Summaries,
    ) -> None:
        self._titling = titling
        self._summaries = summaries
        self._store = store
        self._agent = agent
        self._running = running
        self._callbacks = callbacks
        self._spool = spool
        self._accounting = accounting
        self._given_up = given_up

    def perform(
        self, turn: OpenTurn, thread: SessionThread, options: TurnOptions, pauses: bool
    ) -> Turn:
        """Do the work of an open turn and save it, or abort it with the error that stopped it."""
        telemetry = self._agent.telemetry
        if telemetry is None:
            performance = self._perform(turn, thread, options, pauses, None)
        else:
            performance = self._perform_told(turn, thread, options, pauses, telemetry)
        self._running.note(performance)
        return closable(performance) if pauses else performance

    def _perform_told(
        self,
        opened: OpenTurn,
        thread: SessionThread,
        options: TurnOptions,
        pauses: bool,
        telemetry: Telemetry,
    ) -> Turn:
        told = TurnRun(opened.session_id, opened.turn_id, opened.user_id, opened.resumed)
        with telemetry.around(told):
            return (yield from self._perform(opened, thread, options, pauses, told))

    def _perform(
        self,
        opened: OpenTurn,
        thread: SessionThread,
        options: TurnOptions,
        pauses: bool,
        told: TurnRun | None,
    ) -> Turn:
        running = self._running.begin(opened, pauses=pauses)
        interval = self._agent.config.delta_interval
        turn = StoredTurn(
            self._store,
            running,
            self._callbacks,
            interval,
            self._accounting,
            pauses=pauses,
            on_close=options.on_close,
        )
        outcome: TurnOutcome | None = None
        try:
            try:
                work = self._work_out(turn, thread, options)
                outcome = yield from self._running.hand_on(running, work, turn.renew)
                if outcome.waiting:
                    return self._parked(turn, outcome, told)
                spent, version = self._save(turn, outcome)
            except BaseException as exc:
                if (kept := turn.broken_off(outcome, exc)) is None:
                    raise
                outcome = kept
                spent, version = self._save(turn, outcome)
        except BaseException as exc:
            running.is_ending = True
            if turn.is_left_to_others(exc):
                turn.hand_over(exc, None)
                raise
            # What holds the error is not kept here: the traceback of that holds this frame.
            stored = self._give_up(turn, outcome, exc, told) if running.is_ours else None
            if stored is None or outcome is None:
                if outcome is not None and isinstance(exc, MiniAgentError):
                    raise_first(outcome.error, exc)
                raise
            spent, version = stored  # the commit had come through all the same
        else:
            self._accounting.note(turn.open, spent, tools_of(outcome.steps))
        finally:
            self._running.end(running)
        return (yield from self._conclude(turn, thread, outcome, spent, version, told))

    def _conclude(
        self,
        turn: StoredTurn,
        thread: SessionThread,
        outcome: TurnOutcome,
        spent: UsageTotals,
        version: int | None,
        told: TurnRun | None,
    ) -> Turn:
        """Take note of a turn that was saved, and tell of it; raise what broke it off, if it was.

        Without a ``version`` it waits in the spool.
        """
        if version is not None:
            messages = [turn.open.staged[0], *outcome.steps]
            thread.committed(turn.open, messages, version)
            if turn.is_first:
                self._titling.give(turn.open, messages)
            self._summaries.after(turn.open, thread, messages[-1])
        result = result_of(turn, outcome, spent, version)
        if told is not None:
            told.outcome = "interrupted" if result.interrupted else "answered"
            told.persisted, told.spent = result.persisted, spent
        answer, persisted, error = outcome.messages[-1], result.persisted, outcome.error
        told_so = turn.tell_stored(agent_response(answer, result.version, persisted=persisted))
        if error is None or isinstance(error, MiniAgentError):
            yield told_so
        if error is not None:
            if isinstance(error, ModelError):
                turn.hand_over(error, outcome)
            error.add_note(what_is_stored(outcome, persisted=persisted))
            raise error
        return result

    def _parked(self, turn: StoredTurn, outcome: TurnOutcome, told: TurnRun | None) -> TurnResult:
        """Return what a turn came to that is parked; it is counted with its end."""
        spent = self._accounting.of_outcome(outcome.steps, turn.seconds)
        if told is not None:
            told.outcome, told.spent = "waiting", spent
        return result_of(turn, outcome, spent, turn.open.thread.version)

    def _work_out(
        self, turn: StoredTurn, thread: SessionThread, options: TurnOptions
    ) -> Generator[Event | Pause, None, TurnOutcome]:
        yield turn.start()
        if turn.open.resumed:  # it may have been cancelled while nobody worked on it
            turn.renew()
            if (outcome := self._left_over(turn)) is not None:
                return outcome
        known = thread.newest
        turn.is_first = self._titling.is_first(known)
        work = self._agent.stream_turn(known, turn.open.staged, turn, options)
        return (yield from work)

    def _left_over(self, turn: StoredTurn) -> TurnOutcome | None:
        """Return what to store of a turn that was taken over to be ended, if it is such a one.

        No model is asked, and no tool run, of which another holder may have run some already.
        """
        if not (turn.is_cancelled or turn.open.is_given_up):
            return None
        steps, opened = turn.steps(), turn.open
        text = opened.shown or self._store.parts.shown_text.of(
            turn.session_id, turn.turn_id, turn.user_id
        )
        if not steps and not text:
            return None
        told: dict[str, Any] = {"interrupted": "cancelled"}
        if not turn.is_cancelled:
            error = TurnGivenUp()
            told = {"interrupted": why(error), **failure_of(error)}
        messages = ended(steps, text, told, turn)
        return TurnOutcome(messages, (*steps, *messages), text, told["interrupted"])

    def _save(self, turn: StoredTurn, outcome: TurnOutcome) -> tuple[UsageTotals, int | None]:
        """Store the turn; return what it took, and the version: None if it went to the spool."""
        turn.running.must_go_on()
        turn.running.is_ending = True
        spent = self._accounting.of_outcome(outcome.steps, turn.seconds)
        try:
            return spent, turn.commit(outcome, spent)
        except (TurnNotSaved, TurnUncertain) as exc:
            if self._spool is None:
                raise
            try:
                self._spool.keep(turn.open, turn.unstored(outcome), spent=spent)
            except OSError as full:
                exc.add_note(f"It could not be spooled to {self._spool.folder} either: {full}")
                raise exc from full
            log.warning("turn %s waits in %s: %s", turn.turn_id, self._spool.folder, exc.cause)
            return spent, None

    def _give_up(
        self,
        turn: StoredTurn,
        outcome: TurnOutcome | None,
        error: BaseException,
        told: TurnRun | None,
    ) -> tuple[UsageTotals, int] | None:
        """Drop the turn in Redis, now or later; return what it took and its version if it is there.

        If Redis is away and a tool has run, it is stored later instead. The error's hint says then
        what stands.
        """
        turn.hand_over(error, outcome)
        steps = turn.steps(outcome)
        spent = self._accounting.of_failure(steps, error, turn.seconds)
        answered = None
        kept: tuple[Message, ...] = ()
        if outcome is not None and isinstance(error, (TurnNotSaved, *AWAY)):
            kept = outcome.steps if turn.has_run_tools(outcome) else ()
            if kept or isinstance(error, TurnUncertain):
                answered = self._accounting.of_outcome(outcome.steps, turn.seconds)
        if told is not None:
            told.spent = spent
        lost = GivenUp(turn.open, error, spent, answered, kept, tools_of(steps))
        dropped = None
        try:
            dropped = self._given_up.drop(lost)
        except MiniAgentError as exc:
            what = "stored" if kept else "dropped"
            log.warning("turn %s could not be %s now, but will be: %s", turn.turn_id, what, exc)
        tell_what_stands(error, dropped, is_kept=turn.turn_id in self._given_up and bool(kept))
        if dropped is not None and dropped.stored and answered is not None:
            return answered, dropped.stored
        turn.tell_stored(turn_failed(error))
        return None
