"""The agent of one app in one process: opened when it is first used, closed when all is over."""

from __future__ import annotations

import atexit
import copy
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from functools import partial, update_wrapper
from typing import Any

from flask import Flask

from ..agent import StreamCallback
from ..errors import MiniAgentError, StoreMisconfigured
from ..models import ExpiredSession
from ..runtime.clock import SystemClock
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import WeakRegistry
from ..session import SessionAgent
from ..store.hook_calls import ExpiryHook
from ..telemetry import Instrumentation
from ..tools import ToolRegistry
from .settings import Settings
from .streams import OpenStreams

log: logging.Logger = logging.getLogger("miniagent_redis")

_PATIENCE = 1.0
"""Seconds for which who comes behind a failed opening is told the same, and does not try it too."""


def _is_patched() -> bool:
    """Whether gevent has put its own threads in the place of Python's."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


_WAS_PATCHED = _is_patched()
"""When this module was imported, and the locks of others in the package made."""


class Opening:
    """Opens an agent at its first use in each process. Safe for threads and forks."""

    def __init__(
        self,
        app: Flask,
        read_settings: Callable[[], Settings],
        tools: ToolRegistry,
        callbacks: StreamCallback | None,
        instrumentation: Instrumentation | None,
        expiry_hooks: Iterable[ExpiryHook],
        beside: Iterable[Opening],
    ) -> None:
        self._app = weakref.ref(app)
        self._read_settings = read_settings
        self._parts = tools, callbacks, instrumentation
        self._expiry_hooks = expiry_hooks
        # One for all agents of an app: each stream has a thread of the server, whosever it is.
        self.streams: OpenStreams = next((one.streams for one in beside), OpenStreams())
        self._clock = SystemClock()
        self._settings: Settings | None = None
        self._agent: SessionAgent | None = None
        self._failure: tuple[float, MiniAgentError] | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._start_anew()
        _open.add(self)

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()

    @property
    def is_open(self) -> bool:
        """Whether the agent is open in this process."""
        return self._agent is not None

    @property
    def settings(self) -> Settings:
        """The settings: those of the configuration as it is now, or was at the first use."""
        return self._settings or self._read_settings()

    def agent(self) -> SessionAgent:
        """Return the agent; open it if it is not. Raises StoreUnavailable or StoreMisconfigured."""
        return self._agent or self._open()

    def close(self) -> None:
        """Shut the agent down, if it is open. Its next use opens another one."""
        with self._lock:
            agent, self._agent, self._settings = self._agent, None, None
            if self._end is not None:
                self._end.detach()
        if agent is not None:
            agent.shutdown()

    def _open(self) -> SessionAgent:
        with self._lock:
            if self._agent is not None:
                return self._agent
            if self._failure and self._clock.monotonic() - self._failure[0] < _PATIENCE:
                raise copy.copy(self._failure[1])
            try:
                _refuse_late_patching()
                settings = self._read_settings()
                agent = self._made(settings)
            except MiniAgentError as exc:
                self._failure = self._clock.monotonic(), exc
                raise
            self._failure, self._settings, self._agent = None, settings, agent
            self._end = weakref.finalize(self, SessionAgent.shutdown, agent)
            self._end.atexit = False  # then it is closed by the function below
            return agent

    def _made(self, settings: Settings) -> SessionAgent:
        tools, callbacks, instrumentation = self._parts
        agent = SessionAgent(
            settings.agent,
            tools,
            callbacks,
            settings.redis,
            instrumentation=instrumentation,
        )
        for hook in self._expiry_hooks:
            agent.on_expire(update_wrapper(partial(_call_in_app, self._app, hook), hook))
        agent.turns.submitted.around = partial(_in_app, self._app)
        Context().run(agent.initialize)  # turns that it finds abandoned are not of this request
        if settings.is_testing:
            agent.background.stop()
        return agent


def _in_app(app: weakref.ref[Flask]) -> AbstractContextManager[object]:
    """Return a context of the app for a turn of the pool: those of its request are over by then."""
    there = app()
    return nullcontext() if there is None else there.app_context()


def _call_in_app(app: weakref.ref[Flask], hook: ExpiryHook, expired: ExpiredSession) -> None:
    with _in_app(app):
        hook(expired)


_open: WeakRegistry[Opening] = WeakRegistry()


@atexit.register
def _close_all() -> None:
    for one in _open:
        one.close()


def _refuse_late_patching() -> None:
    """Raise StoreMisconfigured if gevent came when the package had its locks already."""
    if _is_patched() and not _WAS_PATCHED:
        raise StoreMisconfigured(
            "gevent has patched this process after miniagent_redis was imported",
            cause="gunicorn's worker patches when it starts, and --preload imports the app before",
            hint="begin gunicorn.conf.py with `from gevent import monkey; monkey.patch_all()`, or "
            "leave --preload out",
        )
