"""SessionAgent: the agent with its store. Runs turns so that each is stored whole or not at all."""

from __future__ import annotations

from contextvars import copy_context
from typing import TypeVar

from ..agent import Agent, AgentConfig, StreamCallback
from ..config.redis import RedisConfig
from ..errors import InvalidInput
from ..maintenance.jobs import standard_jobs
from ..maintenance.spool import Spool
from ..maintenance.sweeping import Sweeps
from ..maintenance.thread import Background
from ..runtime.clock import Clock, check_clock
from ..runtime.delegating import delegates
from ..runtime.durations import Duration
from ..runtime.interrupts import weakly
from ..store.checks import check_wait
from ..store.hook_calls import ExpiryHook
from ..store.keys import check_namespace, check_session_id
from ..store.manager import RedisSessionManager
from ..telemetry import Instrumentation, Telemetry
from ..tools import Tools
from .branching import Branching
from .forgotten import not_at_exit, shut_down_at_exit
from .given import given_callbacks, given_config, given_store, leave_store
from .in_pauses import InPauses
from .news import News
from .stats import AgentStats, stats_of
from .thread import SessionThread
from .turn_calls import TurnCalls
from .turns import AgentTurns

H = TypeVar("H", bound=ExpiryHook)

SHUTDOWN_TIMEOUT = 4.0
"""Seconds: whoever ends a process mostly gives it five or ten."""


def _turn_calls(agent: SessionAgent) -> TurnCalls:
    return agent.turn_calls


class SessionAgent:
    """An agent whose conversations live in Redis; many sessions at once, safe for threads.

    ``initialize`` connects and starts the background thread, ``shutdown`` ends both; ``with``
    does the two. ``tools``: functions or a registry. ``redis_config`` is ``RedisConfig.from_env()``
    and ``instrumentation``, told of model calls, tools and turns, that of ``store`` by default.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: Tools | None = None,
        callbacks: StreamCallback | None = None,
        redis_config: RedisConfig | None = None,
        *,
        store: RedisSessionManager | None = None,
        clock: Clock | None = None,
        instrumentation: Instrumentation | None = None,
    ) -> None:
        self.config: AgentConfig = given_config(config)
        self.callbacks: StreamCallback = given_callbacks(callbacks)
        self.clock: Clock = check_clock(clock)
        self.store: RedisSessionManager = given_store(
            store, redis_config, self.clock, instrumentation
        )
        parts = self.store.parts
        telemetry = Telemetry.of(instrumentation) or parts.core.telemetry
        self.agent: Agent = Agent(self.config, tools, parts.flights.flight, telemetry)
        self._news = News(self.callbacks, self.clock)
        self._work_on_turns()
        self._sweeps = Sweeps(parts, self.clock)
        jobs = standard_jobs(parts, self.store.health, self._sweeps)
        self.background: Background = Background(jobs + self.turns.jobs(), self.clock)
        parts.core.connections.availability.on_change.append(weakly(self._news.of_health))
        self._root = self
        self._tenants: dict[str, SessionAgent] = {}
        self._is_open, self._is_store_given = False, store is not None

    def _work_on_turns(self) -> None:
        """Make what works on turns in the store's namespace."""
        must_be_open = weakly(self._must_be_open)
        self.turns: AgentTurns = AgentTurns(
            self.store, self.agent, self.callbacks, self._news, must_be_open
        )
        self.spool: Spool | None = self.turns.spool
        self.turn_calls: TurnCalls = TurnCalls(self.turns, self.agent.tools)
        self.branching: Branching = Branching(self.store, self.turns, self.agent.tools)
        self.in_pauses: InPauses = InPauses(self.turns, self.agent.tools)

    # --- life ---------------------------------------------------------------------------------

    def initialize(self) -> SessionAgent:
        """Connect, store what is spooled, start the background thread; returns self. Twice is fine.

        Raises StoreUnavailable or StoreMisconfigured within about a second, InvalidInput for a
        ``spool_dir`` that cannot be written to.
        """
        if self.spool is not None:
            self.spool.open()
        self.store.connect()
        self.turns.replay()
        self.turns.recovering.context = copy_context()
        self.background.start()
        self._is_open = True
        shut_down_at_exit(self)
        return self

    def shutdown(self, timeout: Duration = SHUTDOWN_TIMEOUT) -> bool:
        """Finish what runs, write what is noted, close all; return whether it was done in time.

        In this order, tenants with it: no new turns, submitted turns and those of other threads (up
        to ``timeout`` seconds), streams not read to their end, the background
        threads, the spool (what Redis does not take stays on disk), the store, unless it was handed
        in, and the MCP servers among its tools. By a signal or twice: fine.
        """
        deadline = self.clock.monotonic() + check_wait(timeout, "timeout")
        self._is_open = False
        not_at_exit(self)
        family = [self, *self._tenants.copy().values()]
        idle = [each.turns.finish(deadline) for each in family]
        for thread in (self.background, self._sweeps.thread):  # the one starts the other
            idle.append(thread.stop(max(0.1, deadline - self.clock.monotonic())))
        try:
            for each in family:
                each.turns.replay()
        finally:
            try:
                leave_store(self.store, is_given=self._is_store_given)
            finally:
                self.agent.tools.close()
        return all(idle)

    def tenant(self, namespace: str) -> SessionAgent:
        """Return the same agent for another namespace of Redis, the same one each time.

        It shares model, tools, callbacks, expiry hooks, connections and the background thread, and
        nothing that is stored. It is open while this one is. Raises InvalidInput for what is no
        namespace.
        """
        root = self._root
        if check_namespace(namespace) == root.store.config.namespace:
            return root
        known = root._tenants.get(namespace)
        return known or root._tenants.setdefault(namespace, _Tenant(root, namespace))

    def __enter__(self) -> SessionAgent:
        return self.initialize()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def on_expire(self, hook: H) -> H:
        """Call ``hook`` with an ExpiredSession when a session has expired; can decorate.

        Within some five seconds, by one of the open agents that have hooks: give all the same. Its
        thread is still readable, as ``messages``. Called once for each expiry; again only if the
        process dies or loses Redis meanwhile. What it raises is logged and counted. In a thread of
        their own, one after the other: one that hangs stops no more than the other hooks of this
        process, see ``stats().store.running_hooks``. Raises InvalidInput for what is no function.
        """
        self._sweeps.add(hook)
        return hook

    def stats(self) -> AgentStats:
        """Return what the agent is doing in this process. Asks Redis nothing."""
        return stats_of(self.store, self.background, self.turns)

    # --- threads ------------------------------------------------------------------------------

    def thread(self, session_id: str, *, user_id: str | None = None) -> SessionThread:
        """Return the session's thread, loaded when first looked at; recent ones are kept here."""
        if user_id is not None:
            return SessionThread(self.store, session_id, user_id=user_id)
        return self.turns.kept.get(check_session_id(session_id))

    def forget(self, session_id: str) -> None:
        """Drop what is kept here of the session; Redis is not asked."""
        self.turns.kept.forget(check_session_id(session_id))

    # --- turns --------------------------------------------------------------------------------

    @delegates(TurnCalls.submit, _turn_calls)
    def submit(self) -> None: ...
    @delegates(TurnCalls.run, _turn_calls)
    def run(self) -> None: ...
    @delegates(TurnCalls.stream, _turn_calls)
    def stream(self) -> None: ...
    @delegates(TurnCalls.resume_turn, _turn_calls)
    def resume_turn(self) -> None: ...
    @delegates(TurnCalls.answer, _turn_calls)
    def answer(self) -> None: ...
    @delegates(TurnCalls.cancel, _turn_calls)
    def cancel(self) -> None: ...

    def _must_be_open(self) -> None:
        if not self._root._is_open:
            hint = "call initialize() first, or use it as `with SessionAgent(…) as agent:`"
            raise InvalidInput("the agent is not open", hint=hint)


class _Tenant(SessionAgent):
    """An agent's work in another namespace. Its life is that of the agent."""

    def __init__(self, root: SessionAgent, namespace: str) -> None:
        self.config, self.clock, self.callbacks = root.config, root.clock, root.callbacks
        self.store = root.store.tenant(namespace)
        self.agent = root.agent.with_lookups(self.store.parts.flights.flight)
        self._sweeps, self._news = root._sweeps, root._news
        self._work_on_turns()
        self.background = root.background
        self._root = root
        self.turns.submitted.around = root.turns.submitted.around
        for job in self.turns.jobs():
            self.background.add(job)

    def initialize(self) -> SessionAgent:
        """Open the agent that this is a tenant of, and store what is spooled here."""
        self._root.initialize()
        if self.spool is not None:
            self.spool.open()
        self.turns.replay()
        return self

    def shutdown(self, timeout: Duration = SHUTDOWN_TIMEOUT) -> bool:
        """Finish what runs in this namespace and write what is noted; the rest stays open."""
        idle = self.turns.finish(self.clock.monotonic() + check_wait(timeout, "timeout"))
        self.turns.replay()
        leave_store(self.store, is_given=self._root._is_store_given)
        return idle
