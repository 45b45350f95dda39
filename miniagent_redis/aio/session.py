"""SessionAgent and SessionManager for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator
from functools import partial, update_wrapper
from typing import Any, Self, TypeVar

from ..agent import AgentConfig
from ..agent import StreamCallback as _StreamCallback
from ..config.redis import RedisConfig
from ..models import ExpiredSession, TurnResult
from ..runtime.cancellation import Caller
from ..runtime.checks import of_kind
from ..runtime.clock import Clock
from ..runtime.durations import Duration
from ..runtime.mirroring import Threads, mirrors, mirrors_steps, mirrors_task, mirrors_turn
from ..runtime.pausing import Pause
from ..session import SessionAgent as _Agent
from ..session import SessionManager as _Manager
from ..session.agent import SHUTDOWN_TIMEOUT
from ..session.stats import AgentStats
from ..store.hook_calls import ExpiryHook, check_hook
from ..telemetry import Instrumentation
from ..tools import Tools
from .hooks import StreamCallback, ToolRegistry
from .store import RedisSessionManager
from .submitted import Submitted
from .thread import SessionThread, ThreadBefore

H = TypeVar("H", bound=ExpiryHook)
_MakesTask = Callable[[Coroutine[Any, Any, TurnResult]], Submitted]
_Steps = Generator[Pause, None, TurnResult]


def _submit(agent: _Agent, *args: Any, **options: Any) -> tuple[_MakesTask, _Steps, Clock]:
    submitting, steps = agent.in_pauses.submit(*args, **options)
    return partial(Submitted, submitting), steps, agent.clock


class SessionAgent:
    """An agent whose conversations live in Redis; many sessions at once.

    ``initialize`` connects and starts the background thread, ``shutdown`` ends both; ``async
    with`` does the two. ``tools`` are functions, or a ToolRegistry. ``redis_config`` defaults to
    ``RedisConfig.from_env()``. ``sync`` is the blocking object underneath.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: Tools | None = None,
        callbacks: _StreamCallback | None = None,
        redis_config: RedisConfig | None = None,
        *,
        store: RedisSessionManager | None = None,
        clock: Clock | None = None,
        instrumentation: Instrumentation | None = None,
    ) -> None:
        is_given = store is not None
        if store is None:
            redis_config = RedisConfig.given(redis_config, "redis_config")
            store = RedisSessionManager(redis_config, clock=clock, instrumentation=instrumentation)
        of_kind(store, RedisSessionManager, "store", "write RedisSessionManager(RedisConfig(…))")
        callbacks = StreamCallback() if callbacks is None else callbacks
        sync = _Agent(
            config,
            ToolRegistry.of(tools),
            callbacks,
            redis_config,
            store=store.sync,
            clock=clock,
            instrumentation=instrumentation,
        )
        self._stand_before(sync, store, callbacks)
        self._is_store_given = is_given

    def _stand_before(
        self,
        sync: _Agent,
        store: RedisSessionManager,
        callbacks: _StreamCallback,
        threads: Threads | None = None,
    ) -> None:
        self.sync: _Agent = sync
        self.store: RedisSessionManager = store
        self.callbacks: _StreamCallback = callbacks
        self.config: AgentConfig = sync.config
        self.clock: Clock = sync.clock
        self._threads = threads or store._threads.with_turns(sync.config.turn_threads)
        self._is_store_given = False

    def tenant(self, namespace: str) -> SessionAgent:
        """Return the same agent for another namespace of Redis. Its life is that of this one."""
        sync = self.sync.tenant(namespace)
        store = self.store.tenant(namespace)
        return _AgentBefore(sync, store, self.callbacks, self._threads)

    async def initialize(self) -> Self:
        """Connect and start the background thread; returns self. Twice is fine.

        Raises StoreUnavailable or StoreMisconfigured within about a second.
        """
        self._loop = asyncio.get_running_loop()
        await self._initialize()
        return self

    async def shutdown(self, timeout: Duration = SHUTDOWN_TIMEOUT) -> bool:
        """Finish what runs, write what is noted, close all; return whether it was done in time.

        In this order: no new turns, running turns (up to ``timeout`` seconds), the background
        thread, the store with its threads unless it was handed in. Twice is fine.
        """
        shutdown = partial(self.sync.shutdown, timeout)
        try:
            return await Caller().run(self._threads.pool("waits"), shutdown)
        finally:
            self._threads.end_turns()
            if not self._is_store_given:
                await self.store.disconnect()

    async def __aenter__(self) -> Self:
        try:
            return await self.initialize()
        except asyncio.CancelledError:
            await self.shutdown()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    def stats(self) -> AgentStats:
        """Return what the agent is doing in this process. Asks Redis nothing."""
        return self.sync.stats()

    def thread(self, session_id: str, *, user_id: str | None = None) -> SessionThread:
        """Return the session's thread, to be loaded; recent ones are kept here."""
        sync = self.sync.thread(session_id, user_id=user_id)
        return ThreadBefore(sync, self._threads)

    def on_expire(self, hook: H) -> H:
        """Call ``hook`` with an ExpiredSession when a session has expired; can decorate.

        As in the blocking agent. An async one runs in the event loop that called ``initialize``.
        """
        check_hook(hook)
        # Under the hook's own name, for what is logged of it.
        self.sync.on_expire(update_wrapper(partial(self._call_hook, hook), hook))
        return hook

    def _call_hook(self, hook: ExpiryHook, expired: ExpiredSession) -> None:
        result = hook(expired)
        if inspect.iscoroutine(result):
            try:
                future = asyncio.run_coroutine_threadsafe(result, self._loop)
            except RuntimeError:  # the loop is closed
                result.close()
                raise
            future.result()

    @mirrors(_Agent.initialize)
    def _initialize(self) -> None: ...
    @mirrors(_Agent.forget)
    def forget(self) -> None: ...
    @mirrors_turn(_Agent.run, lambda agent, *args, **options: (
        agent.in_pauses.run(*args, **options), agent.clock
    ))  # fmt: skip
    def run(self) -> None: ...
    @mirrors_steps(_Agent.stream, lambda agent, *args, **options: (
        agent.in_pauses.stream(*args, **options), agent.clock
    ), on="turns")  # fmt: skip
    def stream(self) -> None: ...
    @mirrors(_Agent.cancel)
    def cancel(self) -> None: ...

    @mirrors_turn(_Agent.answer, lambda agent, *args, **options: (
        agent.in_pauses.answer(*args, **options), agent.clock
    ))  # fmt: skip
    def answer(self) -> None: ...
    @mirrors_turn(_Agent.resume_turn, lambda agent, *args, **options: (
        agent.in_pauses.resume_turn(*args, **options), agent.clock
    ))  # fmt: skip
    def resume_turn(self) -> None: ...
    @mirrors_task(_Agent.submit, _submit)
    def submit(self) -> None: ...


class _AgentBefore(SessionAgent):
    """The facade of a blocking agent that is there already."""

    def __init__(
        self,
        sync: _Agent,
        store: RedisSessionManager,
        callbacks: _StreamCallback,
        threads: Threads,
    ) -> None:
        self._stand_before(sync, store, callbacks, threads)


class SessionManager:
    """Sessions of one agent, by id.

    Every method takes an optional ``user_id``: with it, a session of somebody else is not found.
    ``sync`` is the blocking object underneath.
    """

    def __init__(self, agent: SessionAgent) -> None:
        hint = "write SessionManager(SessionAgent(…))"
        self.agent: SessionAgent = of_kind(agent, SessionAgent, "agent", hint)
        self.store: RedisSessionManager = agent.store
        self.sync: _Manager = _Manager(agent.sync)
        self._threads = agent._threads

    def tenant(self, namespace: str) -> SessionManager:
        """Return the same manager for another namespace: see ``SessionAgent.tenant``."""
        return SessionManager(self.agent.tenant(namespace))

    @mirrors(_Manager.create_or_resume_session)
    def create_or_resume_session(self) -> None: ...
    @mirrors_turn(_Manager.chat, lambda manager, *args, **options: (
        manager.agent.in_pauses.chat(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def chat(self) -> None: ...
    @mirrors_turn(_Manager.run, lambda manager, *args, **options: (
        manager.agent.in_pauses.run(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def run(self) -> None: ...
    @mirrors_steps(_Manager.stream, lambda manager, *args, **options: (
        manager.agent.in_pauses.stream(*args, **options), manager.agent.clock
    ), on="turns")  # fmt: skip
    def stream(self) -> None: ...
    @mirrors_turn(_Manager.start, lambda manager, *args, **options: (
        manager.agent.in_pauses.start(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def start(self) -> None: ...
    @mirrors(_Manager.turn)
    def turn(self) -> None: ...
    @mirrors_turn(_Manager.answer, lambda manager, *args, **options: (
        manager.agent.in_pauses.answer(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def answer(self) -> None: ...
    @mirrors(_Manager.list_waiting)
    def list_waiting(self) -> None: ...
    @mirrors(_Manager.cancel)
    def cancel(self) -> None: ...

    @mirrors_turn(_Manager.resume_turn, lambda manager, *args, **options: (
        manager.agent.in_pauses.resume_turn(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def resume_turn(self) -> None: ...
    @mirrors_steps(_Manager.watch, lambda manager, *args, **options: (
        manager.store.parts.watching.watch_in_steps(*args, **options), manager.store.clock
    ))  # fmt: skip
    def watch(self) -> None: ...
    @mirrors(_Manager.get_history)
    def get_history(self) -> None: ...
    @mirrors(_Manager.list_sessions)
    def list_sessions(self) -> None: ...
    @mirrors(_Manager.search, on="waits")  # for pages of many threads
    def search(self) -> None: ...
    @mirrors(_Manager.set_title)
    def set_title(self) -> None: ...
    @mirrors(_Manager.fork_session, on="waits")  # for as long as the thread takes
    def fork_session(self) -> None: ...
    @mirrors(_Manager.list_branches)
    def list_branches(self) -> None: ...
    @mirrors(_Manager.rewind, on="waits")
    def rewind(self) -> None: ...
    @mirrors_turn(_Manager.edit, lambda manager, *args, **options: (
        manager.agent.branching.edit_in_steps(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def edit(self) -> None: ...
    @mirrors_turn(_Manager.regenerate, lambda manager, *args, **options: (
        manager.agent.branching.regenerate_in_steps(*args, **options), manager.agent.clock
    ))  # fmt: skip
    def regenerate(self) -> None: ...
    @mirrors(_Manager.usage)
    def usage(self) -> None: ...
    @mirrors(_Manager.clear_history)
    def clear_history(self) -> None: ...
    @mirrors(_Manager.renew_session_id, on="waits")  # for as long as the thread takes
    def renew_session_id(self) -> None: ...
    @mirrors(_Manager.end_session)
    def end_session(self) -> None: ...
    @mirrors(_Manager.forget_user, on="waits")
    def forget_user(self) -> None: ...
