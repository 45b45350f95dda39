"""SessionAgent: the agent with its store. Runs turns so that each is stored whole or not at all."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

from ..agent import Agent, AgentConfig, StreamCallback, TurnOutcome
from ..clock import Clock, SystemClock
from ..config import RedisConfig
from ..errors import InvalidInput, MiniAgentError, TurnSuperseded
from ..health import Health
from ..maintenance.jobs import standard_jobs
from ..maintenance.thread import Background
from ..models import Event, EventType, Message, OpenTurn, TurnResult
from ..store.expiry import ExpiryHook, check_hook
from ..store.manager import RedisSessionManager
from ..tools import ToolRegistry
from .running import RunningTurns
from .thread import SessionThread

H = TypeVar("H", bound=ExpiryHook)

log = logging.getLogger("miniagent_redis")
_MOST_THREADS = 256
_WORKERS = 32


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
        self.agent = Agent(self.config, tools, clock=self.clock)
        self._expiry_hooks: list[ExpiryHook] = []
        self._turns = RunningTurns(self.store)
        jobs = standard_jobs(self.store, self._turns.renew_leases, self._expiry_hooks)
        self.background = Background(jobs, self.clock)
        self.store.connections.availability.on_change.append(self._tell_health)
        self._threads: OrderedDict[str, SessionThread] = OrderedDict()
        self._lock = threading.Lock()  # guards the threads and the pool
        self._pool: ThreadPoolExecutor | None = None
        self._is_open = False

    # --- life ---------------------------------------------------------------------------------

    def initialize(self) -> SessionAgent:
        """Connect and start the background thread; returns self. Twice is fine.

        Raises StoreUnavailable or StoreMisconfigured within about a second.
        """
        self.store.connect()
        self.background.start()
        self._is_open = True
        _open_agents.add(self)
        return self

    def shutdown(self, timeout: float = 10.0) -> bool:
        """Finish what runs, write what is noted, close all; return whether it was done in time.

        In this order: no new turns, submitted turns (up to ``timeout`` seconds), the background
        thread, the store. Twice is fine.
        """
        self._is_open = False
        _open_agents.discard(self)
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        deadline = self.clock.monotonic() + timeout
        idle = self._turns.wait_until_idle(timeout)
        stopped = self.background.stop(max(0.1, deadline - self.clock.monotonic()))
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
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_WORKERS, "miniagent-redis-turn")
        return self._pool.submit(self.run, session_id, message, user_id=user_id)

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
        An abandoned turn of the session is finished first. Raises SessionNotFound, SessionBusy,
        SessionTooLarge, TurnSuperseded, TurnNotSaved, TurnUncertain, ModelError, InvalidInput or
        StoreUnavailable.
        """
        self._must_be_open()
        thread = self.thread(session_id)
        while True:
            turn = self._begin(thread, session_id, message, user_id)
            if not turn.resumed:
                return (yield from self._perform(turn, thread))
            _last(self._perform(turn, thread))

    def _begin(
        self, thread: SessionThread, session_id: str, message: str | Message, user_id: str | None
    ) -> OpenTurn:
        epoch, count = thread.known
        if self.config.on_busy == "interrupt":
            self._turns.stop(session_id)
        turn = self.store.begin_turn(
            session_id,
            message,
            user_id=user_id,
            epoch=epoch,
            count=count,
            on_busy=self.config.on_busy,
            busy_timeout=self.config.busy_timeout,
        )
        thread.absorb(turn.thread)
        return turn

    def _perform(self, turn: OpenTurn, thread: SessionThread) -> Generator[Event, None, TurnResult]:
        """Do the work of an open turn and commit it, or abort it with the error that stopped it."""
        session_id, turn_id = turn.session_id, turn.turn_id
        with self._turns.running(turn) as running:

            def stage(messages: Sequence[Message]) -> None:
                running.must_go_on()
                running.turn = self.store.stage_step(running.turn, messages)

            try:
                message = turn.staged[0].to_dict()
                yield self._emit(
                    EventType.TURN_STARTED, turn, message=message, resumed=turn.resumed
                )
                steps = self.agent.stream_turn(
                    thread.messages,
                    turn.staged,
                    turn_id=turn_id,
                    session_id=session_id,
                    user_id=turn.user_id,
                    stage=stage,
                    stop=running.stop,
                )
                outcome = yield from self._told(steps)
                running.must_go_on()
                version = self.store.commit_turn(
                    running.turn,
                    outcome.messages,
                    usage=outcome.usage,
                    tool_calls=outcome.tool_calls,
                )
            except BaseException as exc:
                self._give_up(running.turn, exc)
                raise
        thread.committed(turn, [*running.turn.staged, *outcome.messages], version)
        yield self._emit(EventType.AGENT_RESPONSE, turn, text=outcome.text, version=version)
        return TurnResult(outcome.text, outcome.usage, outcome.steps, turn_id, version, session_id)

    def _told(
        self, steps: Generator[Event, None, TurnOutcome]
    ) -> Generator[Event, None, TurnOutcome]:
        """Pass the events on, to the callbacks first; end the work when nobody listens any more."""
        with closing(steps):
            while True:
                try:
                    event = next(steps)
                except StopIteration as stop:
                    outcome: TurnOutcome = stop.value
                    return outcome
                self.callbacks.emit(event)
                yield event

    def _give_up(self, turn: OpenTurn, error: BaseException) -> None:
        """Drop the turn in Redis; if that fails too, its lease runs out by itself."""
        data: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
        try:
            if not isinstance(error, TurnSuperseded):
                self.store.abort_turn(turn, error)
        except MiniAgentError as exc:
            log.warning("turn %s could not be dropped now; its lease will end: %s",
                        turn.turn_id, exc)  # fmt: skip
        self._emit(EventType.TURN_FAILED, turn, **data)

    def _emit(self, kind: EventType, turn: OpenTurn, **data: Any) -> Event:
        event = Event(kind, turn.session_id, turn.turn_id, data, self.clock.time())
        self.callbacks.emit(event)
        return event

    def _tell_health(self, health: Health) -> None:
        data = {"state": health.state, "error": health.error}
        self.callbacks.emit(Event(EventType.HEALTH_CHANGED, "", None, data, self.clock.time()))

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
        result: TurnResult = stop.value
        return result


_open_agents: weakref.WeakSet[SessionAgent] = weakref.WeakSet()


@atexit.register
def _shut_down_forgotten() -> None:
    """At the end of the program, finish what nobody shut down."""
    for agent in list(_open_agents):
        log.warning("the agent %r was never shut down; use `with` or shutdown()", agent.config.name)
        agent.shutdown(5.0)
