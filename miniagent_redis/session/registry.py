"""The turns that run in this process: so that they keep their leases, and can be told to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from inspect import GEN_SUSPENDED, getgeneratorstate
from math import inf
from typing import Any, TypeVar

from attrs import define, field

from ..errors import MiniAgentError, TurnSuperseded
from ..models import Event, OpenTurn
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import Flag, WeakRegistry
from ..runtime.pausing import Pause
from ..store.manager import RedisSessionManager

log: logging.Logger = logging.getLogger("miniagent_redis")
_LOOK_AGAIN = 0.01
R = TypeVar("R")
_Performance = Generator[Any, Any, Any]


@define(eq=False)
class RunningTurn:
    """An open turn that somebody works on; ``turn`` grows with its steps.

    While it is saved or given up (``is_ending``), its lease may be over at any moment. Once
    ``is_stopped`` it is no longer the open one; ``cancel`` tells it to end with what there is.
    ``told`` is set by either.
    """

    turn: OpenTurn
    is_ending: bool = False
    is_stopped: bool = False
    cancel: bool = False
    reader_since: float | None = None
    """Since when its reader has an event and has not asked for the next, by the monotonic clock."""
    is_told_stalled: bool = False
    shown: list[str] = field(factory=list)
    """The text of the answer behind the last step, in pieces, as far as anybody was shown it."""
    thread_id: int | None = field(factory=threading.get_ident)
    told: Flag = field(factory=Flag, init=False)
    _pid: int = field(factory=os.getpid, init=False)

    @property
    def is_ours(self) -> bool:
        """Whether it was begun in this process, and not in the one that this is a fork of."""
        return self._pid == os.getpid()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody, here or elsewhere, asked for the turn's end."""
        return self.cancel or self.turn.cancelled

    def stop(self) -> None:
        """Tell who works on it that it is no longer the open turn."""
        self.is_stopped = True
        self.told.set()

    def end_soon(self) -> None:
        """Tell who works on it to end it with what there is."""
        self.cancel = True
        self.told.set()

    def must_go_on(self) -> None:
        """Raise TurnSuperseded if the turn was told to stop, or goes on in the parent process."""
        if self.is_stopped or not self.is_ours:
            raise TurnSuperseded(self.turn.session_id, self.turn.turn_id)


class RunningTurns:
    """The running turns of one agent, one for each session at the most. Safe for threads."""

    def __init__(self, store: RedisSessionManager, reader_timeout: float | None = None) -> None:
        self._store = store
        self._patience = inf if reader_timeout is None else reader_timeout
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        """Begin with none; a forked child leaves its parent's turns to the parent."""
        # By session, and held weakly: one that nobody works on any more is none.
        self._turns: dict[str, weakref.ref[RunningTurn]] = {}
        self._performances: WeakRegistry[_Performance] = WeakRegistry()
        self._lock = threading.RLock()  # over the turns

    def begin(self, turn: OpenTurn, *, pauses: bool = False) -> RunningTurn:
        """Keep the turn among the running ones, until ``end`` or until nobody works on it.

        One that ``pauses`` is in no thread for good.
        """
        running = RunningTurn(turn)
        if pauses:
            running.thread_id = None
        with self._lock:
            self._turns[turn.session_id] = weakref.ref(running)
        return running

    def end(self, running: RunningTurn) -> None:
        """Take the turn out, unless another one of its session has come."""
        session_id = running.turn.session_id
        with self._lock:
            if self.of(session_id) in (running, None):
                self._turns.pop(session_id, None)

    def note(self, performance: _Performance) -> None:
        """Keep an eye on what does the work of a turn, for ``end_suspended``."""
        self._performances.add(performance)

    def end_suspended(self) -> None:
        """End the turns of streams that nobody reads at this moment; the others go on."""
        for performance in self._performances:
            # One that has not begun would end without a word to Redis.
            if getgeneratorstate(performance) == GEN_SUSPENDED:
                with suppress(ValueError):  # it is being executed by now
                    performance.close()

    def hand_on(
        self,
        running: RunningTurn,
        events: Generator[Event | Pause, None, R],
        renew: Callable[[], None],
    ) -> Generator[Event | Pause, None, R]:
        """Yield the events, and note for how long the reader has each before asking for the next.

        When that was too long, ``renew`` is called first: somebody else may have the turn by now.
        """
        try:
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    result: R = end.value
                    return result
                if isinstance(event, Pause):
                    yield event
                    continue
                running.reader_since = self._store.clock.monotonic()
                yield event
                is_late = self._is_stalled(running)
                running.reader_since = None
                if is_late:
                    renew()
        finally:
            events.close()

    def _is_stalled(self, running: RunningTurn) -> bool:
        """Whether the reader of a turn has not asked for its next event for too long."""
        since = running.reader_since
        return since is not None and self._store.clock.monotonic() - since >= self._patience

    def __len__(self) -> int:
        return len(self._alive())

    def _alive(self) -> list[RunningTurn]:
        found = (reference() for reference in list(self._turns.values()))
        return [running for running in found if running is not None]

    def of(self, session_id: str) -> RunningTurn | None:
        """Return the session's turn, if one runs here."""
        found = self._turns.get(session_id)
        return None if found is None else found()

    def renew_leases(self) -> None:
        """Keep the turns that run here; one that is no longer ours is told to stop."""
        turns = self._alive()
        if turns and self._store.parts.core.connections.availability.is_down:
            # Now, and not when the calls that come after a slow failure may try again.
            self._store.health_check()
        for running in turns:
            if self.of(running.turn.session_id) is not running:
                continue  # it has ended since, or begun: then it is kept as one that is worked on
            if self._is_stalled(running):
                if not running.is_told_stalled:
                    log.warning("the reader of turn %s asks for no event: its lease is not renewed",
                                running.turn.turn_id)  # fmt: skip
                running.is_told_stalled = True
                continue
            try:
                if self._store.renew_lease(running.turn).cancelled:
                    running.end_soon()
            except MiniAgentError as exc:
                if running.is_ending and isinstance(exc, TurnSuperseded):
                    continue  # whoever ends it is told what became of it
                log.warning("the lease of turn %s was not renewed: %s", running.turn.turn_id, exc)
                if isinstance(exc, TurnSuperseded):
                    running.stop()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait for turns of other threads; one of this thread cannot go on while we wait."""
        me, deadline = threading.get_ident(), time.monotonic() + timeout
        while any(running.thread_id != me for running in self._alive()):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN)
        return True
