"""A turn of a session as its agent sees it: steps go to the store, events to all who listen."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from attrs import evolve

from ..agent import OnClose, StreamCallback, TurnContext, TurnOutcome
from ..agent.broken_off import broken_off, why
from ..agent.call_results import open_calls
from ..agent.turn_context import Decision
from ..errors import (
    MiniAgentError,
    ModelError,
    SessionNotFound,
    SessionTooLarge,
    StoreUnavailable,
    TurnNotSaved,
    TurnUncertain,
)
from ..llm import ModelRequest
from ..models import (
    Event,
    EventType,
    Inquiry,
    Message,
    OpenTurn,
    ToolCall,
    Usage,
    UsageTotals,
    WaitingCall,
)
from ..models.event import Told, turn_started
from ..models.inquiry import inquiries_of
from ..runtime.interrupts import Bell
from ..store.manager import RedisSessionManager
from ..store.waiting_calls import call_digest, last_reply
from .accounting import Accounting
from .deltas import Telling
from .given_up import AWAY, NOT_KEPT, ask_for_any
from .registry import RunningTurn

log: logging.Logger = logging.getLogger("miniagent_redis")
_LEAVING = (GeneratorExit, CancelledError)
"""What ends a turn whose reader has closed it, or whose task was cancelled."""


class StoredTurn(TurnContext):
    """An open turn on which this process works. ``open`` is it, with all that is staged."""

    def __init__(
        self,
        store: RedisSessionManager,
        running: RunningTurn,
        callbacks: StreamCallback,
        delta_interval: float | None,
        accounting: Accounting,
        *,
        pauses: bool = False,
        on_close: OnClose = "keep",
    ) -> None:
        turn = running.turn
        super().__init__(
            turn.session_id, turn.turn_id, turn.user_id, clock=store.clock, pauses=pauses
        )
        self.running = running
        self._on_close = on_close
        self._store = store
        self._connections = store.parts.core.connections
        self._callbacks = callbacks
        self._accounting = accounting
        self._telling = Telling(store, running, delta_interval)
        self._began = store.clock.monotonic()
        self._told = 0  # how many of the turn's event ids have been given out
        self._late: tuple[Sequence[Message], ...] = ()  # steps that are to be staged yet
        self.is_first: bool = False
        """Whether it is the first of its session, and makes its title."""
        self.is_parking: bool = False
        """Whether it was to be parked, be it done or not."""

    @property
    def open(self) -> OpenTurn:
        """The turn as the store knows it."""
        return self.running.turn

    @property
    def is_stopped(self) -> bool:
        """Whether others have taken the turn's place, or go on with it in the parent process."""
        return self.running.is_stopped or not self.running.is_ours

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for the turn's end."""
        return self.running.is_cancelled

    def ring(self, bell: Bell) -> None:
        super().ring(bell)
        self.running.told.ring(bell)

    @property
    def seconds(self) -> float:
        """How long the turn has taken so far."""
        return self.clock.monotonic() - self._began

    def start(self) -> Event:
        """Tell that the turn begins."""
        turn = self.open
        started = turn_started(turn.staged[0], turn.thread.version, resumed=turn.resumed)
        return self.tell_stored(started)

    def tell_stored(self, told: Told) -> Event:
        """Return the event of what the store has just told watchers; with their id, if it has."""
        return self.tell(told, "".join(self._new_ids()[-1:]))

    def _new_ids(self) -> list[str]:
        """Return the ids of the events that the store told since this was asked."""
        ids = self.open.event_ids[self._told :]
        self._told += len(ids)
        return ids

    def check_wait(self) -> float | None:
        super().check_wait()
        return self._telling.send_late()

    def session_data(self) -> dict[str, Any]:
        """Load the session's custom data, as it is now; SessionNotFound once the session ended."""
        data = self._store.get_session(self.session_id, user_id=self.user_id)
        if data is None:
            raise SessionNotFound(self.session_id)
        return data

    def stage(self, messages: Sequence[Message]) -> Sequence[str]:
        """Stage messages, behind the text of theirs that watchers have not heard yet.

        While Redis is away what tools gave is carried along, and goes with the next step or with
        the commit. A call has to be staged before its tool is run: else who takes over the turn
        would run it too.
        """
        self.running.must_go_on()
        self._telling.finish()
        self._late = *self._late, messages
        self.running.shown.clear()
        may_wait, availability = not open_calls(messages), self._connections.availability
        ids: Sequence[str] = ()
        if not may_wait or not availability.is_down:
            try:
                ids = self._stage_late()
            except AWAY as exc:
                if not may_wait:
                    raise
                log.warning("steps of turn %s are carried along: %s", self.turn_id, exc)
        self._telling.forget()
        return ids

    def _stage_late(self) -> Sequence[str]:
        """Stage what is not, each as it was tried before: what the server has of it is found.

        Returns the ids of the events that tell of the last ones.
        """
        while self._late:
            self._new_ids()  # of those before, of which nobody here is told any more
            staged = {message.id for message in self.open.staged}
            if messages := [each for each in self._late[0] if each.id not in staged]:
                self.running.turn = self._store.stage_step(self.open, messages)
            self._late = self._late[1:]
        return self._new_ids()

    def commit(self, outcome: TurnOutcome, spent: UsageTotals) -> int:
        """Store the turn and return the session's version, as ``commit_turn`` does."""
        error = outcome.error
        is_away = isinstance(error, AWAY) or self._connections.availability.is_down
        if is_away and error is not None and not isinstance(error, ModelError):
            # It was tried for long enough, or who interrupts the turn does not wait for it.
            cause = getattr(error, "problem", "") or "Redis is away, and nobody waits for it"
            raise TurnNotSaved(self.session_id, self.turn_id, outcome.text, cause) from error
        try:
            self._stage_late()
        except StoreUnavailable as exc:
            raise TurnNotSaved(self.session_id, self.turn_id, outcome.text, str(exc)) from exc
        try:
            return self._store.commit_turn(self.open, self.unstored(outcome), spent=spent)
        except TurnUncertain:
            ask_for_any(self._store, self.turn_id)
            raise

    def unstored(self, outcome: TurnOutcome) -> Sequence[Message]:
        """Return the steps of an outcome that are not staged."""
        staged = {message.id for message in self.open.staged}
        return [step for step in outcome.steps if step.id not in staged]

    def decision(self, call: ToolCall, steps: Sequence[Message]) -> Decision | None:
        """Return what was decided of a call while the turn was parked."""
        digest = call_digest(last_reply(steps), call.id)
        if digest in self.open.approved:
            return "approved"
        return "started" if digest in self.open.started else None

    def inquiries(self, call_id: str) -> tuple[Inquiry, ...]:
        return inquiries_of(self.open.staged, call_id)

    def park(self, calls: Sequence[WaitingCall]) -> str | None:
        """Park the turn: its lease is over, and it is no more the one that runs here."""
        self.running.must_go_on()
        self._telling.finish()
        self._stage_late()
        self.running.is_ending = self.is_parking = True
        if self._store.parts.parking.park_turn(self.open, calls) is None:
            self.running.is_ending = self.is_parking = False
            self.running.end_soon()
            return None
        return "".join(self._new_ids()[-1:])

    def steps(self, outcome: TurnOutcome | None = None) -> tuple[Message, ...]:
        """Return all that the turn came to behind the user's message, stored or not."""
        if outcome is not None:
            return outcome.steps
        steps = {step.id: step for step in self.open.staged[1:]}
        return *steps.values(), *(
            each for late in self._late for each in late if each.id not in steps
        )

    def hand_over(self, error: BaseException, outcome: TurnOutcome | None) -> None:
        """Let an error of ours that ends the turn have what was done: ``steps`` and ``text``."""
        if isinstance(error, MiniAgentError):
            error.steps = self.steps(outcome)
            said = [step.text for step in error.steps if step.role == "assistant" and step.text]
            error.text = "".join(self.running.shown) or (said[-1] if said else "")

    def is_left_to_others(self, error: BaseException) -> bool:
        """Whether others go on with the turn when the error has ended the work on it here.

        Whoever takes it over parks it, if it is not parked; or finishes what was to be finished.
        """
        is_closed = isinstance(error, GeneratorExit)
        return self.is_parking or (is_closed and self._on_close == "finish")

    def broken_off(self, outcome: TurnOutcome | None, error: BaseException) -> TurnOutcome | None:
        """Return what to store of the turn if the error ends it; None if it is to be dropped.

        That is if nothing happened in it, or it is not ours any more, or cannot be stored anyway:
        while Redis is away only what tools did is worth to be kept for later.
        """
        running, is_ours = self.running, isinstance(error, MiniAgentError)
        if self.is_left_to_others(error) or running.is_stopped or not running.is_ours:
            return None
        is_left = isinstance(error, _LEAVING) and self._on_close == "drop"
        is_away = self._connections.availability.is_down and not is_ours
        if outcome is None and (is_left or is_away or isinstance(error, AWAY)):
            if not self.has_run_tools(None):
                return None
        elif isinstance(error, NOT_KEPT) or (is_away and not self.has_run_tools(outcome)):
            return None
        running.is_ending = True
        self.hand_over(error, outcome)
        if outcome is not None and not isinstance(error, SessionTooLarge):
            # Somebody interrupted the commit: done again it changes nothing more.
            return None if is_ours else evolve(outcome, error=error)
        text = "".join(self.running.shown)
        if isinstance(error, SessionTooLarge):
            self._late, text = (), ""
        steps = self.steps()
        messages = broken_off(steps, text, error, self)
        if not messages:
            return None
        return TurnOutcome(messages, (*steps, *messages), text, why(error), error=error)

    def has_run_tools(self, outcome: TurnOutcome | None) -> bool:
        """Whether a tool may have run, be it for an earlier holder of the turn."""
        steps = self.steps(outcome)
        if any(step.role == "tool" and not step.metadata.get("not_run") for step in steps):
            return True
        return (self.has_started_tools or self.open.resumed) and bool(open_calls(steps))

    def renew(self) -> None:
        """Renew the lease, and hear whether the turn is cancelled."""
        self.running.turn = self._store.renew_lease(self.open)

    def reserved(
        self, request: ModelRequest, used: Callable[[], Usage]
    ) -> AbstractContextManager[None]:
        return self._accounting.reserved(request, self.turn_id, used)

    def hear(self, event: Event) -> None:
        """Tell callbacks of it, and watchers of text and reasoning."""
        self._callbacks.emit(event)
        if event.type is EventType.TEXT_DELTA:
            self.running.shown.append(event.text)
            self._telling.hear(event.text)
        elif event.type is EventType.REASONING_DELTA:
            self._telling.hear(event.text, reasoning=True)
