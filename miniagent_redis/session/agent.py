"""SessionAgent: the agent with its store. Runs turns so that each is stored whole or not at all."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from ..agent import Agent, AgentConfig, StreamCallback
from ..clock import Clock, SystemClock
from ..config import RedisConfig
from ..errors import InvalidInput, MiniAgentError
from ..forking import anew_in_child
from ..health import Health
from ..maintenance.jobs import standard_jobs
from ..maintenance.spool import Spool, SpooledTurn
from ..maintenance.thread import Background
from ..models import Event, EventType, Message, TurnResult
from ..store.expiry import ExpiryHook, check_hook
from ..store.flight import Flight
from ..store.manager import RedisSessionManager
from ..tools import ToolRegistry
from .running import RunningTurns
from .submitted import SubmittedTurns
from .thread import SessionThread
from .work import TurnWork

H = TypeVar("H", bound=ExpiryHook)

log = logging.getLogger("miniagent_redis")
_MOST_THREADS = 256
SHUTDOWN_TIMEOUT = 4.0
"""Seconds: whoever ends a process mostly gives it five or ten."""


class SessionAgent:
    """An agent whose conversations live in Redis; many sessions at once, safe for threads.

    ``initialize`` connects and starts the background thread, ``shutdown`` ends both; ``with``
    does the two. ``redis_config`` defaults to ``RedisConfig.from_env()``.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: ToolRegistry | None = None,
        callbacks: StreamCallback | None = None,
        redis_config: RedisConfig | None = None,
        *,
        store: RedisSessionManager | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config or AgentConfig()
        self.clock = clock or SystemClock()
        self.store = store or RedisSessionManager(redis_config, clock=self.clock)
        self.callbacks = callbacks or StreamCallback()
        self.agent = Agent(self.config, tools, clock=self.clock, cache=partial(Flight, self.store))
        self._expiry_hooks: list[ExpiryHook] = []
        self._turns = RunningTurns(self.store)
        folder = self.store.config.spool_dir
        self.spool = Spool(folder, self.store, self._tell_spooled) if folder else None
        self._work = TurnWork(self.store, self.agent, self._turns, self.callbacks, self.spool)
        jobs = standard_jobs(self.store, self._turns.renew_leases, self._expiry_hooks, self.spool)
        self.background = Background(jobs, self.clock)
        self.store.connections.availability.on_change.append(self._tell_health)
        self._start_anew()
        anew_in_child(self._start_anew)
        self._submitted = SubmittedTurns()
        self._is_open = False

    def _start_anew(self) -> None:
        self._threads: OrderedDict[str, SessionThread] = OrderedDict()
        self._lock = threading.RLock()  # guards the threads

    # --- life ---------------------------------------------------------------------------------

    def initialize(self) -> SessionAgent:
        """Connect, store what is spooled, start the background thread; returns self. Twice is fine.

        Raises StoreUnavailable or StoreMisconfigured within about a second, InvalidInput for a
        ``spool_dir`` that cannot be written to.
        """
        if self.spool is not None:
            self.spool.open()
        self.store.connect()
        self._replay_spool()
        self.background.start()
        self._is_open = True
        _open_agents.add(self)
        return self

    def shutdown(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Finish what runs, write what is noted, close all; return whether it was done in time.

        In this order: no new turns, submitted turns and those of other threads (up to ``timeout``
        seconds), streams that were not read to their end, which are dropped, the background thread,
        the spool (what Redis does not take stays on disk), the store. Twice is fine, and so is a
        call by a signal handler.
        """
        self._is_open = False
        _open_agents.discard(self)
        deadline = self.clock.monotonic() + timeout
        idle = self._submitted.finish(timeout)
        idle &= self._turns.wait_until_idle(max(0.0, deadline - self.clock.monotonic()))
        self._turns.drop_suspended()
        stopped = self.background.stop(max(0.1, deadline - self.clock.monotonic()))
        self._replay_spool()
        self.store.disconnect()
        return idle and stopped

    def __enter__(self) -> SessionAgent:
        return self.initialize()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def on_expire(self, hook: H) -> H:
        """Call ``hook`` with an ExpiredSession when a session has expired; can decorate.

        Within some five seconds, by one of the open agents: all of them should have the same
        hooks. Its thread is still readable, as ``messages``. Called once for each expiry; again
        only if the process dies or loses Redis meanwhile, or all hooks together take longer than
        a minute. A hook that raises is logged and counted in ``store.failed_expiry_hooks``. It
        runs in the background thread, which also keeps the leases of running turns: hand on what
        takes more than a few seconds. Raises InvalidInput for what cannot be called.
        """
        check_hook(hook)
        self._expiry_hooks.append(hook)
        return hook

    # --- threads ------------------------------------------------------------------------------

    def thread(self, session_id: str, *, user_id: str | None = None) -> SessionThread:
        """Return the session's thread, loaded when first looked at; recent ones are kept here."""
        if user_id is not None:
            return SessionThread(self.store, session_id, user_id=user_id)
        with self._lock:
            thread = self._threads.pop(session_id, None)
            if thread is None:
                thread = SessionThread(self.store, session_id)
            self._threads[session_id] = thread
            if len(self._threads) > _MOST_THREADS:
                self._threads.popitem(last=False)
        return thread

    def forget(self, session_id: str) -> None:
        """Drop what is kept here of the session; Redis is not asked."""
        with self._lock:
            self._threads.pop(session_id, None)

    # --- turns --------------------------------------------------------------------------------

    def submit(
        self, session_id: str, message: str | Message, *, user_id: str | None = None
    ) -> Future[TurnResult]:
        """Start a turn in the pool; the future has its result or its error."""
        self._must_be_open()
        return self._submitted.submit(lambda: _last(self._stream(session_id, message, user_id)))

    def run(
        self, session_id: str, message: str | Message, *, user_id: str | None = None
    ) -> TurnResult:
        """Run a turn to its end; return its result. Blocks. Errors as in ``stream``."""
        return _last(self.stream(session_id, message, user_id=user_id))

    def stream(
        self, session_id: str, message: str | Message, *, user_id: str | None = None
    ) -> Generator[Event, None, TurnResult]:
        """Run a turn, yielding its events as they happen; the generator's value is the result.

        The last event is AGENT_RESPONSE, and by then the turn is stored. A turn that ends before
        it, because the model failed or the caller stopped iterating, leaves the thread as it was.
        An abandoned turn of the session is finished first. If Redis is away at the end of the turn
        and there is a ``spool_dir``, the turn goes there and ``persisted`` is False. An answer that
        breaks off is stored as far as it came, marked as interrupted, and IncompleteResponse raised
        behind the last event. Raises
        SessionNotFound, SessionBusy, SessionTooLarge, RateLimited, TurnSuperseded, TurnNotSaved,
        TurnUncertain, ModelError, InvalidInput or StoreUnavailable.
        """
        self._must_be_open()
        return (yield from self._stream(session_id, message, user_id))

    def _stream(
        self, session_id: str, message: str | Message, user_id: str | None
    ) -> Generator[Event, None, TurnResult]:
        admission = self._work.admit(session_id, user_id)
        thread = self.thread(session_id)
        while True:
            turn = self._work.begin(admission, thread, message, user_id)
            if not turn.resumed:
                return (yield from self._work.perform(turn, thread))
            _last(self._work.perform(turn, thread))

    def resume_turn(self, session_id: str, *, user_id: str | None = None) -> TurnResult | None:
        """Finish the session's abandoned turn; None if it has none.

        A turn is abandoned when its process died, or lost Redis, and its lease has ended: then its
        staged steps are used again. While the lease runs this waits or fails as ``on_busy`` says;
        a running turn is never interrupted. The next ``chat`` does the same by itself. Errors as
        in ``stream``.
        """
        self._must_be_open()
        thread = self.thread(session_id)
        turn = self._work.resume(thread, user_id)
        return None if turn is None else _last(self._work.perform(turn, thread))

    def cancel(self, session_id: str, *, user_id: str | None = None) -> bool:
        """End the session's running turn, on whichever instance; return whether there is one.

        Does not wait for it. The turn ends at the model's next piece of text, or within a second or
        so while tools run, with what there is of the answer: stored and returned as
        ``interrupted``. Raises SessionNotFound or StoreUnavailable.
        """
        self._must_be_open()
        running = self._turns.of(session_id)
        is_running = self.store.cancel_turn(session_id, user_id=user_id)
        if is_running and running is not None:
            running.cancel = True
        return is_running

    def _tell_health(self, health: Health) -> None:
        data = {"state": health.state, "error": health.error}
        self.callbacks.emit(Event(EventType.HEALTH_CHANGED, "", None, data, self.clock.time()))

    def _replay_spool(self) -> None:
        if self.spool is not None:
            try:
                self.spool.replay()
            except MiniAgentError as exc:
                log.warning("the spool has to wait: %s", exc)

    def _tell_spooled(self, spooled: SpooledTurn, end: int | MiniAgentError) -> None:
        turn = spooled.turn
        kind, data = EventType.TURN_REPLAYED, {"text": turn.staged[-1].text, "version": end}
        if isinstance(end, MiniAgentError):
            kind, data = EventType.TURN_FAILED, {"error": type(end).__name__, "message": str(end)}
        self.callbacks.emit(Event(kind, turn.session_id, turn.turn_id, data, self.clock.time()))

    def _must_be_open(self) -> None:
        if not self._is_open:
            raise InvalidInput(
                "the agent is not open",
                hint="call initialize() first, or use it as `with SessionAgent(…) as agent:`",
            )


def _last(turn: Generator[Event, None, TurnResult]) -> TurnResult:
    try:
        while True:
            next(turn)
    except StopIteration as stop:
        result: TurnResult | None = stop.value
    if result is None:
        raise InvalidInput("the agent was shut down in the middle of the turn, which was dropped")
    return result


_open_agents: weakref.WeakSet[SessionAgent] = weakref.WeakSet()


@atexit.register
def _shut_down_forgotten() -> None:
    """At the end of the program, finish what nobody shut down."""
    for agent in list(_open_agents):
        log.warning("the agent %r was never shut down; use `with` or shutdown()", agent.config.name)
        agent.shutdown()
