"""RedisSessionManager: the whole store as one object, for those who need more than the agent."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import redis
from attrs import astuple

from ..config import RedisConfig
from ..errors import MiniAgentError, StoreUnavailable
from ..forking import anew_in_child
from ..health import Health
from ..locks import NamedLock
from ..scripts import ReplyLost
from .base import log
from .channels import Channels
from .expiry import Expiry
from .flight import SingleFlight
from .limits import Limits
from .listing import Listing
from .sessions import Sessions
from .turns import Turns
from .usage import UsageCounts
from .watching import Watching


class RedisSessionManager(
    Sessions, Listing, Turns, Expiry, Watching, SingleFlight, Limits, UsageCounts, Channels
):
    """Sessions, threads, turns, cache, limits, locks and channels in one Redis.

    Connects by itself at the first use, or in ``connect``. Safe for threads; a forked child gets
    connections of its own. Booleans mean "was it there"; faults raise.
    """

    def connect(self) -> None:
        """Connect now; answers within about a second.

        Raises StoreUnavailable or StoreMisconfigured, with what to do.
        """
        self.connections.open()

    def disconnect(self) -> None:
        """Give locks back, write what is noted, close all connections. Twice is fine."""
        if self.connections.is_open:
            self.unsubscribe()
            with suppress(StoreUnavailable):  # it is logged, and the rest would meet it too
                self._give_locks_back()
                self._write_marks()
                self._write_usage()
        self._held.clear()
        self.connections.close()

    def _give_locks_back(self) -> None:
        for lock in list(self._held.values()):
            try:
                lock.release()
            except MiniAgentError as exc:
                log.warning("a lock could not be given back; its ttl will end: %s", exc)
                if isinstance(exc, StoreUnavailable):
                    raise

    def __init__(self, config: RedisConfig | None = None, **options: Any) -> None:
        super().__init__(config, **options)
        self._hold_nothing()
        anew_in_child(self._hold_nothing)

    def _hold_nothing(self) -> None:
        self._held: dict[str, NamedLock] = {}  # those of acquire_lock

    def __enter__(self) -> RedisSessionManager:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    @property
    def client(self) -> redis.Redis:
        """The redis-py client, for commands and pipelines of your own. It never retries."""
        return self.connections.client

    def health_check(self) -> bool:
        """Whether Redis answers now. Never raises; takes about a second at the most."""
        try:
            self.connections.probe()
        except (MiniAgentError, ReplyLost):
            return False
        return True

    def health(self) -> Health:
        """Ask Redis for a sign of life and return its state, with the latency in seconds.

        Never raises; takes about a second at the most. The state is "down" from the first call
        that could not reach Redis until one does.
        """
        began = time.monotonic()
        answers = self.health_check()
        latency = time.monotonic() - began
        return self.connections.availability.current(latency if answers else None)

    # --- named locks ------------------------------------------------------------------------

    def lock(self, resource: str, *, ttl: int = 30, timeout: float = 10.0) -> NamedLock:
        """Return a lock on any name, to be used in ``with``: waits up to ``timeout`` seconds.

        It frees itself after ``ttl`` whole seconds, which start anew for as long as it is held
        and an agent's background thread runs here. Entering raises LockTimeout.
        """
        return NamedLock(self.connections, self.keys.lock(resource), ttl, timeout, self._taken)

    def acquire_lock(self, resource: str, *, ttl: int = 30, timeout: float = 0.0) -> bool:
        """Take a lock for this manager until ``release_lock``; return whether it was free."""
        lock = self.lock(resource, ttl=ttl, timeout=timeout)
        if not lock.acquire():
            return False
        self._held[resource] = lock
        return True

    def release_lock(self, resource: str) -> bool:
        """Give back a lock taken with ``acquire_lock``; return whether it was still ours."""
        lock = self._held.pop(resource, None)
        return lock is not None and lock.release()

    def renew_locks(self) -> None:
        """Renew the locks held here that have used up a third of their ttl.

        The background thread calls it every second. Raises nothing: what cannot be renewed is
        logged, and the lock tells by ``is_lost``.
        """
        self._taken.renew()

    def is_locked(self, resource: str) -> bool:
        """Whether anybody holds the lock now."""
        return self.lock(resource).is_held()


_shared: dict[tuple[Any, ...], RedisSessionManager] = {}


def get_redis_manager(config: RedisConfig | None = None) -> RedisSessionManager:
    """Return this process's connected manager for ``config`` (default: from the environment).

    The same one for the same settings. Raises StoreUnavailable or StoreMisconfigured.
    """
    config = config or RedisConfig.from_env()
    manager = _shared.setdefault(astuple(config), RedisSessionManager(config))
    manager.connect()
    return manager
