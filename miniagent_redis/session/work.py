"""Doing the work of a turn: begin it, let the agent work it out, save it, or give it up."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import Any

from ..agent import Agent, StreamCallback, TurnOutcome
from ..errors import MiniAgentError, SessionBusy, TurnNotSaved, TurnUncertain
from ..maintenance.spool import Spool
from ..models import Event, EventType, Message, OpenTurn, TurnResult, UsageTotals
from ..store.limits import Admission
from ..store.manager import RedisSessionManager
from .accounting import Accounting
from .running import RunningTurns
from .telling import Telling
from .thread import SessionThread

log = logging.getLogger("miniagent_redis")


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
        self._accounting = Accounting(store, agent.config)

    def admit(self, session_id: str, user_id: str | None) -> Admission:
        """Count a request against the agent's limits. Raises RateLimited."""
        return self._accounting.admit(session_id, user_id)

    def begin(
        self,
        admission: Admission,
        thread: SessionThread,
        message: str | Message,
        user_id: str | None,
    ) -> OpenTurn:
        """Open a turn, or take over the abandoned one that has to be finished before.

        A request that meets a busy session is not counted.
        """
        try:
            return self._begin(thread, message, user_id)
        except SessionBusy:
            with suppress(MiniAgentError):  # then it stays counted
                admission.take_back()
            raise

    def _begin(
        self, thread: SessionThread, message: str | Message, user_id: str | None
    ) -> OpenTurn:
        config = self._agent.config
        self._store_spooled(thread.session_id)
        running = self._turns.of(thread.session_id)
        epoch, count = thread.known
        turn = self._store.begin_turn(
            thread.session_id,
            message,
            user_id=user_id,
            epoch=epoch,
            count=count,
            on_busy=config.on_busy,
            busy_timeout=config.busy_timeout,
        )
        if running is not None and config.on_busy == "interrupt":
            running.is_stopped = True
        thread.absorb(turn.thread)
        return turn

    def resume(self, thread: SessionThread, user_id: str | None) -> OpenTurn | None:
        """Take over the session's abandoned turn, if it has one."""
        config = self._agent.config
        self._store_spooled(thread.session_id)
        epoch, count = thread.known
        turn = self._store.resume_turn(
            thread.session_id,
            user_id=user_id,
            epoch=epoch,
            count=count,
            busy_timeout=config.busy_timeout if config.on_busy == "wait" else 0.0,
        )
        if turn is not None:
            thread.absorb(turn.thread)
        return turn

    def _store_spooled(self, session_id: str) -> None:
        """Store what this process spooled of the session: the next turn comes after it."""
        if self._spool is not None and self._spool.holds(session_id):
            self._spool.replay(session_id)

    def perform(self, turn: OpenTurn, thread: SessionThread) -> Generator[Event, None, TurnResult]:
        """Do the work of an open turn and save it, or abort it with the error that stopped it."""
        performance = self._perform(turn, thread)
        self._turns.note(performance)
        return performance

    def _perform(self, turn: OpenTurn, thread: SessionThread) -> Generator[Event, None, TurnResult]:
        session_id, turn_id = turn.session_id, turn.turn_id
        began = self._store.clock.monotonic()
        outcome: TurnOutcome | None = None
        with self._turns.running(turn) as running:
            telling = Telling(self._store, running, self._agent.config.delta_interval)

            def stage(messages: Sequence[Message]) -> None:
                running.must_go_on()
                telling.finish()
                running.turn = self._store.stage_step(running.turn, messages)
                telling.forget()

            try:
                message = turn.staged[0].to_dict()
                yield self._emit(
                    EventType.TURN_STARTED, turn, message=message, resumed=turn.resumed
                )
                if turn.resumed:  # it may have been cancelled while nobody worked on it
                    running.turn = self._store.renew_lease(turn)
                steps = self._agent.stream_turn(
                    thread.messages,
                    turn.staged,
                    turn_id=turn_id,
                    session_id=session_id,
                    user_id=turn.user_id,
                    stage=stage,
                    is_stopped=lambda: running.is_stopped,
                    is_cancelled=lambda: running.is_cancelled,
                )
                outcome = yield from self._told(steps, telling)
                running.must_go_on()
                running.is_ending = True
                seconds = self._store.clock.monotonic() - began
                spent = self._accounting.of_outcome(outcome, seconds)
                version = self._save(running.turn, outcome, spent)
            except BaseException as exc:
                running.is_ending = True
                if running.is_ours:
                    seconds = self._store.clock.monotonic() - began
                    known = [*running.turn.staged[1:], *(outcome.messages if outcome else ())]
                    self._give_up(
                        running.turn, exc, self._accounting.of_failure(known, exc, seconds)
                    )
                raise
        self._accounting.note(turn, spent)
        persisted = version is not None
        if version is None:
            version = turn.thread.version
        else:
            thread.committed(turn, [*running.turn.staged, *outcome.messages], version)
        yield self._emit(
            EventType.AGENT_RESPONSE,
            turn,
            text=outcome.text,
            version=version,
            persisted=persisted,
            interrupted=bool(outcome.interrupted),
        )
        if outcome.error is not None:
            outcome.error.add_note("What there is of the answer is stored, marked as interrupted.")
            raise outcome.error
        return TurnResult(
            outcome.text,
            outcome.usage,
            outcome.steps,
            turn_id,
            version,
            session_id,
            persisted,
            bool(outcome.interrupted),
            cache_hits=outcome.cache_hits,
            saved_seconds=outcome.saved_seconds,
            saved_tokens=outcome.saved_tokens,
            tool_calls=outcome.tool_calls,
            seconds=seconds,
            cost=self._accounting.cost(outcome.usage),
        )

    def _save(self, turn: OpenTurn, outcome: TurnOutcome, spent: UsageTotals) -> int | None:
        """Commit the turn and return the version, or None if it went to the spool."""
        try:
            return self._store.commit_turn(
                turn,
                outcome.messages,
                usage=outcome.usage,
                tool_calls=outcome.tool_calls,
                spent=spent,
            )
        except (TurnNotSaved, TurnUncertain) as exc:
            if self._spool is None:
                raise
            try:
                self._spool.keep(turn, outcome.messages, outcome.usage, outcome.tool_calls, spent)
            except OSError as full:
                exc.add_note(f"It could not be spooled to {self._spool.folder} either: {full}")
                raise exc from full
            log.warning("turn %s waits in %s: %s", turn.turn_id, self._spool.folder, exc.cause)
            return None

    def _told(
        self, steps: Generator[Event, None, TurnOutcome], telling: Telling
    ) -> Generator[Event, None, TurnOutcome]:
        """Pass the events on, to the callbacks first; end the work when nobody listens any more."""
        with closing(steps):
            while True:
                try:
                    event = next(steps)
                except StopIteration as stop:
                    outcome: TurnOutcome = stop.value
                    return outcome
                self._callbacks.emit(event)
                if event.type is EventType.TEXT_DELTA:
                    telling.hear(event.text)
                yield event

    def _give_up(self, turn: OpenTurn, error: BaseException, spent: UsageTotals) -> None:
        """Drop the turn in Redis; if that fails too, its lease runs out by itself."""
        data: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        try:
            if self._store.abort_turn(turn, error, spent=spent):
                self._accounting.note(turn, spent)
        except MiniAgentError as exc:
            log.warning("turn %s could not be dropped now; its lease will end: %s",
                        turn.turn_id, exc)  # fmt: skip
        self._emit(EventType.TURN_FAILED, turn, **data)

    def _emit(self, kind: EventType, turn: OpenTurn, **data: Any) -> Event:
        event = Event(kind, turn.session_id, turn.turn_id, data, self._store.clock.time())
        self._callbacks.emit(event)
        return event
