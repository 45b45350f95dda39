"""Named locks over python-redis-lock, used in the one way in which they hold.

A lock keeps others out of a piece of work; it cannot stop a holder that slept past its time. What
must never be written twice is guarded by the turn protocol instead.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence
from typing import Any

import redis_lock

from ._mirror import raise_if_cancelled
from .connection import Connections, ReplyLost
from .errors import InvalidInput, LockTimeout
from .models import new_id

SHORTEST_TTL = 2
_POLL = (0.01, 0.25)
# It warns at each try that finds the lock taken, which is what waiting is made of here.
logging.getLogger("redis_lock.acquire").setLevel(logging.ERROR)


class _Client:
    """What python-redis-lock asks of a client, by our own way of sending commands.

    With redis-py's client, a call that a Ctrl-C interrupts may leave its reply to the next one:
    two holders of one lock.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def call(self, *args: Any) -> Any:
        try:
            return self._connections.call(*args)
        except ReplyLost as exc:
            raise self._connections.unavailable(str(exc)) from exc

    def get(self, name: str) -> Any:
        return self.call("GET", name)

    def exists(self, name: str) -> int:
        return int(self.call("EXISTS", name))

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> bool:
        """Set the key if it is not there; also true if an earlier try did and its reply was lost.

        ``nx`` is always meant.
        """
        return self.call("SET", name, value, "NX", "EX", ex, "GET") in (None, value.encode())


def _script(text: bytes) -> staticmethod[..., Any]:
    def run(client: _Client, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return client.call("EVAL", text, len(keys), *keys, *args)

    return staticmethod(run)


class _Lock(redis_lock.Lock):  # type: ignore[misc]
    unlock_script = _script(redis_lock.UNLOCK_SCRIPT)
    extend_script = _script(redis_lock.EXTEND_SCRIPT)

    @classmethod
    def register_scripts(cls, redis_client: object) -> None:
        """Do nothing: the original registers them once for all locks of the process."""


class NamedLock:
    """One holder's view of a named lock: a context manager, or ``acquire`` and ``release``.

    ``ttl`` is in whole seconds, at least 2; the lock frees itself after it, whatever its holder
    does. Not reentrant.
    """

    def __init__(self, connections: Connections, name: str, ttl: int, timeout: float) -> None:
        if not isinstance(ttl, int) or isinstance(ttl, bool) or ttl < SHORTEST_TTL:
            raise InvalidInput(f"a lock's ttl is whole seconds, at least {SHORTEST_TTL}")
        _check_timeout(timeout)
        self._connections = connections
        self._timeout = timeout
        self._id = new_id()
        # auto_renewal would start a thread per lock and die silently at the first failure.
        client = _Client(connections)
        self._lock: Any = _Lock(client, name, expire=ttl, id=self._id, strict=False)
        self._name = name

    def acquire(self, timeout: float | None = None) -> bool:
        """Try for ``timeout`` seconds (0: once) to get the lock; return whether it is ours."""
        clock = self._connections.clock
        if timeout is not None:
            _check_timeout(timeout)
        deadline = clock.monotonic() + (self._timeout if timeout is None else timeout)
        pause = _POLL[0]
        while True:
            raise_if_cancelled()
            # Asking without blocking, again and again: a waiter that blocks on the signal key
            # hears nothing when a lock expires.
            try:
                if self._lock.acquire(blocking=False):
                    return True
            except redis_lock.AlreadyAcquired:
                return True
            if clock.monotonic() + pause > deadline:
                return False
            clock.wait(threading.Event(), pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _POLL[1])

    def release(self) -> bool:
        """Give the lock back; return False if it had expired or was someone else's by then."""
        try:
            self._lock.release()
        except redis_lock.NotAcquired:
            return False
        return True

    def extend(self) -> bool:
        """Start the lock's ttl anew; return False if it is no longer ours."""
        try:
            self._lock.extend()
        except (redis_lock.NotAcquired, redis_lock.NotExpirable):
            return False
        return True

    def is_held(self) -> bool:
        """Whether anybody holds the lock now."""
        return bool(self._lock.locked())

    def __enter__(self) -> NamedLock:
        if not self.acquire():
            raise LockTimeout(self._name, self._timeout)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _check_timeout(seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
        raise InvalidInput(f"timeout must be a number of seconds, not {seconds!r}")
