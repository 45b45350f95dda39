"""The turns that run in this process: so that they keep their leases, and can be told to stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from inspect import GEN_SUSPENDED, getgeneratorstate
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from attrs import define, field

from ..errors import MiniAgentError, TurnSuperseded
from ..forking import anew_in_child
from ..models import OpenTurn
from ..store.manager import RedisSessionManager

log = logging.getLogger("miniagent_redis")
_LOOK_AGAIN = 0.01
_Performance = Generator[Any, Any, Any]
V = TypeVar("V")


def _alive(values: WeakValueDictionary[Any, V]) -> list[V]:
    """Return a copy of what is in the dictionary; its own ``values()`` is none."""
    found = (reference() for reference in values.valuerefs())
    return [value for value in found if value is not None]


@define(eq=False)
class RunningTurn:
    """An open turn that somebody works on; ``turn`` grows with its steps.

    While it is saved or given up (``is_ending``), its lease may be over at any moment. Once
    ``is_stopped`` it is no longer the open one; ``cancel`` tells it to end with what there is.
    """

    turn: OpenTurn
    is_ending: bool = False
    # Not Events: those hang for good when a Ctrl-C comes while they are set.
    is_stopped: bool = False
    cancel: bool = False
    thread_id: int = field(factory=threading.get_ident)
    _pid: int = field(factory=os.getpid, init=False)

    @property
    def is_ours(self) -> bool:
        """Whether it was begun in this process, and not in the one that this is a fork of."""
        return self._pid == os.getpid()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody, here or elsewhere, asked for the turn's end."""
        return self.cancel or self.turn.cancelled

    def must_go_on(self) -> None:
        """Raise TurnSuperseded if the turn was told to stop, or goes on in the parent process."""
        if self.is_stopped or not self.is_ours:
            raise TurnSuperseded(self.turn.session_id, self.turn.turn_id)


class RunningTurns:
    """The running turns of one agent, one for each session at the most. Safe for threads."""

    def __init__(self, store: RedisSessionManager) -> None:
        self._store = store
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        """Begin with none; a forked child leaves its parent's turns to the parent."""
        # Weak: a turn that a Ctrl-C left between two lines here must not be renewed for ever.
        self._by_session: WeakValueDictionary[str, RunningTurn] = WeakValueDictionary()
        self._performances: WeakValueDictionary[int, _Performance] = WeakValueDictionary()
        self._lock = threading.RLock()  # over the dictionary

    @contextmanager
    def running(self, turn: OpenTurn) -> Iterator[RunningTurn]:
        """Keep the turn among the running ones while the block works on it."""
        running = RunningTurn(turn)
        with self._lock:
            self._by_session[turn.session_id] = running
        try:
            yield running
        finally:
            with self._lock:
                if self._by_session.get(turn.session_id) is running:
                    del self._by_session[turn.session_id]

    def note(self, performance: _Performance) -> None:
        """Keep an eye on what does the work of a turn, for ``drop_suspended``."""
        self._performances[id(performance)] = performance

    def drop_suspended(self) -> None:
        """End the turns of streams that nobody reads at this moment; the others go on."""
        for performance in _alive(self._performances):
            # One that has not begun would end without a word to Redis.
            if getgeneratorstate(performance) == GEN_SUSPENDED:
                with suppress(ValueError):  # it is being executed by now
                    performance.close()

    def of(self, session_id: str) -> RunningTurn | None:
        """Return the session's turn, if one runs here."""
        return self._by_session.get(session_id)

    def renew_leases(self) -> None:
        """Keep the turns that run here; one that is no longer ours is told to stop."""
        turns = _alive(self._by_session)
        if turns and self._store.connections.availability.is_down:
            # Now, and not when the calls that come after a slow failure may try again.
            self._store.health_check()
        for running in turns:
            try:
                if self._store.renew_lease(running.turn).cancelled:
                    running.cancel = True
            except MiniAgentError as exc:
                if running.is_ending and isinstance(exc, TurnSuperseded):
                    continue  # whoever ends it is told what became of it
                log.warning("the lease of turn %s was not renewed: %s", running.turn.turn_id, exc)
                if isinstance(exc, TurnSuperseded):
                    running.is_stopped = True

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait for turns of other threads; one of this thread cannot go on while we wait."""
        me, deadline = threading.get_ident(), time.monotonic() + timeout
        while any(running.thread_id != me for running in _alive(self._by_session)):
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN)
        return True
