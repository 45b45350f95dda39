"""SessionAgent and SessionManager for asyncio."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import Self, TypeVar

from .._mirror import Caller, mirrors, mirrors_iterator, mirrors_task
from ..agent import AgentConfig
from ..agent import StreamCallback as _StreamCallback
from ..clock import Clock
from ..config import RedisConfig
from ..models import ExpiredSession
from ..session import SessionAgent as _Agent
from ..session import SessionManager as _Manager
from ..session.agent import SHUTDOWN_TIMEOUT
from ..store.expiry import ExpiryHook, check_hook
from ..tools import ToolRegistry as _ToolRegistry
from .hooks import StreamCallback
from .store import RedisSessionManager
from .thread import SessionThread

H = TypeVar("H", bound=ExpiryHook)


class SessionAgent:
    """An agent whose conversations live in Redis; many sessions at once.

    ``initialize`` connects and starts the background thread, ``shutdown`` ends both; ``async
    with`` does the two. ``redis_config`` defaults to ``RedisConfig.from_env()``. ``sync`` is the
    blocking object underneath.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: _ToolRegistry | None = None,
        callbacks: _StreamCallback | None = None,
        redis_config: RedisConfig | None = None,
        *,
        store: RedisSessionManager | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.store = store or RedisSessionManager(redis_config, clock=clock)
        self.callbacks = callbacks or StreamCallback()
        self.sync = _Agent(config, tools, self.callbacks, store=self.store.sync, clock=clock)
        self.config = self.sync.config
        self.clock = self.sync.clock
        self._threads = self.store._threads

    async def initialize(self) -> Self:
        """Connect and start the background thread; returns self. Twice is fine.

        Raises StoreUnavailable or StoreMisconfigured within about a second.
        """
        self._loop = asyncio.get_running_loop()
        await self._initialize()
        return self

    async def shutdown(self, timeout: float = SHUTDOWN_TIMEOUT) -> bool:
        """Finish what runs, write what is noted, close all; return whether it was done in time.

        In this order: no new turns, running turns (up to ``timeout`` seconds), the background
        thread, the store with its threads. Twice is fine.
        """
        shutdown = partial(self.sync.shutdown, timeout)
        try:
            return await Caller().run(self._threads.pool("waits"), shutdown)
        finally:
            await self.store.disconnect()

    async def __aenter__(self) -> Self:
        try:
            return await self.initialize()
        except asyncio.CancelledError:
            await self.shutdown()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    def thread(self, session_id: str, *, user_id: str | None = None) -> SessionThread:
        """Return the session's thread, to be loaded; recent ones are kept here."""
        sync = self.sync.thread(session_id, user_id=user_id)
        return SessionThread.__new__(SessionThread)._stand_before(sync, self._threads)

    def on_expire(self, hook: H) -> H:
        """Call ``hook`` with an ExpiredSession when a session has expired; can decorate.

        As in the blocking agent. An async one runs in the event loop that called ``initialize``.
        """
        check_hook(hook)
        self.sync.on_expire(partial(self._call_hook, hook))
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
    @mirrors(_Agent.run, on="turns")
    def run(self) -> None: ...
    @mirrors_iterator(_Agent.stream, on="turns")
    def stream(self) -> None: ...
    @mirrors(_Agent.cancel)
    def cancel(self) -> None: ...

    @mirrors(_Agent.resume_turn, on="turns")
    def resume_turn(self) -> None: ...
    @mirrors_task(_Agent.submit, _Agent.run)
    def submit(self) -> None: ...


class SessionManager:
    """Sessions of one agent, by id.

    Every method takes an optional ``user_id``: with it, a session of somebody else is not found.
    ``sync`` is the blocking object underneath.
    """

    def __init__(self, agent: SessionAgent) -> None:
        self.agent = agent
        self.store = agent.store
        self.sync = _Manager(agent.sync)
        self._threads = agent._threads

    @mirrors(_Manager.create_or_resume_session)
    def create_or_resume_session(self) -> None: ...
    @mirrors(_Manager.chat, on="turns")
    def chat(self) -> None: ...
    @mirrors(_Manager.run, on="turns")
    def run(self) -> None: ...
    @mirrors_iterator(_Manager.stream, on="turns")
    def stream(self) -> None: ...
    @mirrors(_Manager.cancel)
    def cancel(self) -> None: ...

    @mirrors(_Manager.resume_turn, on="turns")
    def resume_turn(self) -> None: ...
    @mirrors_iterator(_Manager.watch, on="waits")
    def watch(self) -> None: ...
    @mirrors(_Manager.get_history)
    def get_history(self) -> None: ...
    @mirrors(_Manager.list_sessions)
    def list_sessions(self) -> None: ...
    @mirrors(_Manager.usage)
    def usage(self) -> None: ...
    @mirrors(_Manager.clear_history)
    def clear_history(self) -> None: ...
    @mirrors(_Manager.end_session)
    def end_session(self) -> None: ...
