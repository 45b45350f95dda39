"""Doing the work of a turn: begin it, let the agent work it out, save it, or give it up."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import suppress

from ..agent import USUAL, Agent, StreamCallback, TurnOptions, TurnOutcome, enough_for
from ..errors import (
    MiniAgentError,
    ModelError,
    SessionWaiting,
    StoreUnavailable,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from ..maintenance.spool import Spool
from ..models import Event, OpenTurn, TurnResult, UsageTotals, new_id
from ..models.event import agent_response, turn_failed
from ..store.limits import Admission
from ..store.manager import RedisSessionManager
from ..telemetry import Telemetry, TurnRun
from .accounting import Accounting
from .asked import Asked
from .given_up import WILL_BE_DROPPED, GivenUp, GivenUpTurns, raise_first, tell_what_stands
from .kept_threads import KeptThread
from .registry import RunningTurns
from .results import result_of, to_its_end
from .stored_turn import StoredTurn
from .thread import SessionThread

log: logging.Logger = logging.getLogger("miniagent_redis")


class TurnWork:
    """The turns of one agent. Safe for threads."""

    def __init__(
        self,
        store: RedisSessionManager,
        agent: Agent,
        turns: RunningTurns,
        callbacks: StreamCallback,
        spool: Spool | None,
    ) -> None:
        self._store = store
        self._agent = agent
        self._turns = turns
        self._callbacks = callbacks
        self._spool = spool
        self._enough = enough_for(agent.config)
        self.accounting: Accounting = Accounting(store, agent.config)
        self._given_up = GivenUpTurns(store, self.accounting)

    def admit(self, session_id: str, user_id: str | None) -> Admission | None:
        """Count a request against the agent's limits, if it has any. Raises RateLimited."""
        return self.accounting.admit(session_id, user_id)

    def begin(self, thread: KeptThread, asked: Asked, first: OpenTurn | None = None) -> OpenTurn:
        """Open a turn; an abandoned one is finished before, by the same errors as in ``perform``.

        One that has the id that is asked for is gone on with instead. ``first`` is what is open.
        """
        ticket = new_id()  # others who come meanwhile are behind us
        while (turn := first or self.open(thread, asked, ticket)).resumed:
            if asked.is_for(turn):
                break
            self._finish(turn, thread, ticket)
            first = None
        return turn

    def open(self, thread: KeptThread, asked: Asked, ticket: str | None = None) -> OpenTurn:
        """Open a turn, or take over an abandoned one. Without a ticket it waits for nobody.

        Raises TurnRuns or TurnStored if it repeats a named turn.
        """
        config, session_id, turn_id = self._agent.config, thread.session_id, asked.turn_id
        while True:
            self._clear_up(session_id)
            running = self._turns.of(session_id)
            epoch, count, mark = thread.end
            try:
                turn = self._store.begin_turn(
                    session_id,
                    asked.message,
                    user_id=asked.user_id,
                    turn_id=turn_id,
                    epoch=epoch,
                    count=count,
                    mark=mark,
                    on_busy=config.on_busy,
                    busy_timeout=config.busy_timeout if ticket else 0.0,
                    ticket=ticket,
                    enough=self._enough,
                    searched=thread.lacks(turn_id, is_new=asked.is_new) if turn_id else None,
                )
            except SessionWaiting as exc:
                if config.on_busy != "interrupt" or exc.turn_id == turn_id:
                    raise
                self.end_wait(exc, thread, asked.user_id)
                continue
            except TurnUncertain as exc:
                self._given_up.drop_begun(exc, asked.user_id)
                exc.hint = f"send the message again: it was not answered, and {WILL_BE_DROPPED}"
                raise
            if running is not None and config.on_busy == "interrupt":
                running.stop()
            thread.absorb(turn.thread)
            if not self._is_over(turn):
                return turn

    def resume(self, thread: SessionThread, user_id: str | None) -> OpenTurn | None:
        """Take over the session's abandoned turn, if it has one."""
        config = self._agent.config
        self._clear_up(thread.session_id)
        epoch, count, mark = thread.end
        turn = self._store.resume_turn(
            thread.session_id,
            user_id=user_id,
            epoch=epoch,
            count=count,
            mark=mark,
            busy_timeout=config.busy_timeout if config.on_busy == "wait" else 0.0,
            enough=self._enough,
        )
        if turn is not None:
            thread.absorb(turn.thread)
        return None if turn is None or self._is_over(turn) else turn

    def end_wait(self, waits: SessionWaiting, thread: SessionThread, user_id: str | None) -> None:
        """End a turn that is parked, with what there is of it: its calls are declined."""
        self._store.parts.parking.decline(waits, user_id=user_id)
        if (turn := self.resume(thread, user_id)) is not None:
            to_its_end(self.perform(turn, thread))

    def _clear_up(self, session_id: str) -> None:
        """Drop what was given up of the session, and store what is spooled of it, by whomever."""
        self._given_up.settle(session_id)
        if self._spool is not None:
            self._spool.replay(session_id)

    def _is_over(self, turn: OpenTurn) -> bool:
        """Whether a turn that was taken over has an answer in the spool, which is stored then.

        It came there after the look before, or as that could not be stored before the lease ended.
        """
        return turn.resumed and self._spool is not None and self._spool.replaces(turn)

    def keep_up(self) -> None:
        """Renew the leases of turns that run here, and drop those that were given up."""
        self._turns.renew_leases()
        self._drop_given_up()

    def end(self) -> None:
        """End the turns of streams that nobody reads now, and drop those given up before."""
        self._turns.end_suspended()
        self._drop_given_up()

    def _drop_given_up(self) -> None:
        with suppress(StoreUnavailable, TurnUncertain):  # then the next time
            self._given_up.settle()

    def _finish(self, turn: OpenTurn, thread: SessionThread, ticket: str) -> None:
        """Do the work of an abandoned turn before one's own message; errors as in ``perform``.

        If others end it meanwhile, as by its answer from a spool, there is nothing left to do.
        """
        try:
            to_its_end(self.perform(turn, thread))
        except TurnSuperseded:
            if turn.process_id != os.getpid():  # a forked child has no part in it
                raise
        except BaseException:
            self._store.parts.waiting.give_up_place(turn.session_id, ticket)
            raise

    def perform(
        self, turn: OpenTurn, thread: SessionThread, options: TurnOptions = USUAL
    ) -> Generator[Event, None, TurnResult]:
        """Do the work of an open turn and save it, or abort it with the error that stopped it."""
        telemetry = self._agent.telemetry
        if telemetry is None:
            performance = self._perform(turn, thread, options, None)
        else:
            performance = self._perform_told(turn, thread, options, telemetry)
        self._turns.note(performance)
        return performance

    def _perform_told(
        self, opened: OpenTurn, thread: SessionThread, options: TurnOptions, telemetry: Telemetry
    ) -> Generator[Event, None, TurnResult]:
        told = TurnRun(opened.session_id, opened.turn_id, opened.user_id, opened.resumed)
        with telemetry.around(told):
            return (yield from self._perform(opened, thread, options, told))

    def _perform(
        self, opened: OpenTurn, thread: SessionThread, options: TurnOptions, told: TurnRun | None
    ) -> Generator[Event, None, TurnResult]:
        running = self._turns.begin(opened)
        interval = self._agent.config.delta_interval
        turn = StoredTurn(self._store, running, self._callbacks, interval)
        outcome: TurnOutcome | None = None
        try:
            try:
                work = self._work_out(turn, thread, options)
                outcome = yield from self._turns.hand_on(running, work, turn.renew)
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
            if turn.is_parking:  # whoever takes it over parks it, if it is not
                turn.hand_over(exc, None)
                raise
            lost = version = None
            if running.is_ours:
                lost, version = self._give_up(turn, outcome, exc)
                if told is not None:
                    told.spent = lost.spent
            if lost is None or lost.answered is None or outcome is None or version is None:
                if outcome is not None and isinstance(exc, MiniAgentError):
                    raise_first(outcome.error, exc)
                raise
            spent = lost.answered  # the commit had come through all the same
        else:
            self.accounting.note(turn.open, spent)
        finally:
            self._turns.end(running)
        if version is not None:
            thread.committed(turn.open, [*turn.open.staged, *outcome.messages], version)
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
            error.add_note(
                "What there is of the answer is stored, marked as interrupted."
                if outcome.interrupted
                else "The answer is stored."
            )
            raise error
        return result

    def _parked(self, turn: StoredTurn, outcome: TurnOutcome, told: TurnRun | None) -> TurnResult:
        """Return what a turn came to that is parked; it is counted with its end."""
        spent = self.accounting.of_outcome(outcome.steps, turn.seconds)
        if told is not None:
            told.outcome, told.spent = "waiting", spent
        return result_of(turn, outcome, spent, turn.open.thread.version)

    def _work_out(
        self, turn: StoredTurn, thread: SessionThread, options: TurnOptions
    ) -> Generator[Event, None, TurnOutcome]:
        yield turn.start()
        if turn.open.resumed:  # it may have been cancelled while nobody worked on it
            turn.renew()
        work = self._agent.stream_turn(thread.newest, turn.open.staged, turn, options)
        return (yield from work)

    def _save(self, turn: StoredTurn, outcome: TurnOutcome) -> tuple[UsageTotals, int | None]:
        """Store the turn; return what it took, and the version: None if it went to the spool."""
        turn.running.must_go_on()
        turn.running.is_ending = True
        spent = self.accounting.of_outcome(outcome.steps, turn.seconds)
        try:
            return spent, self._store.commit_turn(turn.open, outcome.messages, spent=spent)
        except (TurnNotSaved, TurnUncertain) as exc:
            if self._spool is None:
                raise
            try:
                self._spool.keep(turn.open, outcome.messages, spent=spent)
            except OSError as full:
                exc.add_note(f"It could not be spooled to {self._spool.folder} either: {full}")
                raise exc from full
            log.warning("turn %s waits in %s: %s", turn.turn_id, self._spool.folder, exc.cause)
            return spent, None

    def _give_up(
        self, turn: StoredTurn, outcome: TurnOutcome | None, error: BaseException
    ) -> tuple[GivenUp, int | None]:
        """Drop the turn in Redis, now or later; return it, and the version if it is stored.

        The error's hint says then what stands.
        """
        turn.hand_over(error, outcome)
        steps = turn.steps(outcome)
        spent = self.accounting.of_failure(steps, error, turn.seconds)
        answered = None
        if outcome is not None and isinstance(error, TurnUncertain):
            answered = self.accounting.of_outcome(outcome.steps, turn.seconds)
        lost = GivenUp(turn.open, error, spent, answered)
        dropped = None
        try:
            dropped = self._given_up.drop(lost)
        except MiniAgentError as exc:
            log.warning("turn %s could not be dropped now, but will be: %s", turn.turn_id, exc)
        tell_what_stands(error, dropped)
        if dropped is not None and dropped.stored and answered is not None:
            return lost, dropped.stored
        turn.tell_stored(turn_failed(error))
        return lost, None
