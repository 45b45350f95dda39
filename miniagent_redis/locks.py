"""Named locks over python-redis-lock, used in the one way in which they hold.

A lock keeps others out of a piece of work; it cannot stop a holder that slept past its time. What
must never be written twice is guarded by the turn protocol instead.
"""

from __future__ import annotations

import logging
import random
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any

import redis_lock

from ._mirror import raise_if_cancelled
from .connection import Connections, ReplyLost
from .errors import InvalidInput, LockTimeout, MiniAgentError
from .forking import anew_in_child
from .models import new_id

log = logging.getLogger("miniagent_redis")
SHORTEST_TTL = 2
_LOST = -inf
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


class TakenLocks:
    """The locks that this process holds and somebody still has a hand on. Safe for threads.

    A forked child holds none.
    """

    def __init__(self) -> None:
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._locks: weakref.WeakValueDictionary[int, NamedLock] = weakref.WeakValueDictionary()

    def add(self, lock: NamedLock) -> None:
        self._locks[id(lock)] = lock

    def discard(self, lock: NamedLock) -> None:
        self._locks.pop(id(lock), None)

    def renew(self) -> None:
        """Renew each lock that has used up a third of its ttl; log what was lost."""
        for reference in self._locks.valuerefs():  # a copy, unlike values()
            if (lock := reference()) is not None:
                lock._renew_if_due()


class NamedLock:
    """One holder's view of a named lock: a context manager, or ``acquire`` and ``release``.

    ``ttl`` is in whole seconds, at least 2. After it the lock frees itself, unless it is renewed:
    by ``extend``, or while an agent's background thread runs. Not reentrant. A forked child does
    not hold what its parent holds.
    """

    def __init__(
        self, connections: Connections, name: str, ttl: int, timeout: float, taken: TakenLocks
    ) -> None:
        if not isinstance(ttl, int) or isinstance(ttl, bool) or ttl < SHORTEST_TTL:
            raise InvalidInput(f"a lock's ttl is whole seconds, at least {SHORTEST_TTL}")
        _check_timeout(timeout)
        self._connections = connections
        self._timeout = timeout
        self._name = name
        self._ttl = ttl
        self._taken = taken
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        # Until when it is surely ours, by the monotonic clock; None: not taken.
        self._until: float | None = None
        # auto_renewal would start a thread per lock and die silently at the first failure.
        self._lock: Any = _Lock(
            _Client(self._connections), self._name, expire=self._ttl, id=new_id(), strict=False
        )

    @property
    def is_lost(self) -> bool:
        """Whether it was taken here and may be someone else's by now. Asks nobody.

        Its ttl is over without a renewal, as when Redis is away, or a renewal found it gone.
        """
        until = self._until
        return until is not None and self._connections.clock.monotonic() >= until

    def acquire(self, timeout: float | None = None) -> bool:
        """Try for ``timeout`` seconds (0: once) to get the lock; return whether it is ours."""
        clock = self._connections.clock
        if timeout is not None:
            _check_timeout(timeout)
        deadline = clock.monotonic() + (self._timeout if timeout is None else timeout)
        pause = _POLL[0]
        was_ours = self._until is not None
        try:
            while True:
                raise_if_cancelled()
                began = clock.monotonic()
                # Asking without blocking, again and again: a waiter that blocks on the signal key
                # hears nothing when a lock expires.
                if self._try():
                    self._taken.add(self)
                    self._until = began + self._ttl
                    return True
                if clock.monotonic() + pause > deadline:
                    return False
                clock.wait(threading.Event(), pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _POLL[1])
        except BaseException as exc:
            # A Ctrl-C: it may have been taken all the same, and nobody would have it.
            if not was_ours and not isinstance(exc, MiniAgentError):
                with suppress(MiniAgentError):  # its ttl ends by itself
                    self.release()
            raise

    def _try(self) -> bool:
        try:
            return bool(self._lock.acquire(blocking=False))
        except redis_lock.AlreadyAcquired:
            return True

    def release(self) -> bool:
        """Give the lock back; return False if it had expired or was someone else's by then."""
        # First of all: what is given back must not be renewed, whatever happens next.
        self._until = None
        self._taken.discard(self)
        try:
            return self._unlock()
        except BaseException as exc:
            if not isinstance(exc, MiniAgentError):
                with suppress(MiniAgentError):  # its ttl ends by itself
                    self._unlock()
            raise

    def _unlock(self) -> bool:
        try:
            self._lock.release()
        except redis_lock.NotAcquired:
            return False
        return True

    def extend(self) -> bool:
        """Start the lock's ttl anew; return False if it is no longer ours."""
        until, now = self._until, self._connections.clock.monotonic()
        try:
            self._lock.extend()
            is_ours = True
        except (redis_lock.NotAcquired, redis_lock.NotExpirable):
            is_ours = False
        # Another thread may have given it back meanwhile, and even taken it again.
        if until is not None and self._until == until:
            self._until = now + self._ttl if is_ours else _LOST
        return is_ours

    def _renew_if_due(self) -> None:
        """Extend it if a third of its ttl has passed; log what goes wrong. For one thread only."""
        until, now = self._until, self._connections.clock.monotonic()
        if until is None or until == _LOST or until - now > self._ttl * 2 / 3:
            return
        try:
            if not self.extend() and self._until == _LOST:
                log.warning("the lock %r was lost while it was held", self._name)
        except MiniAgentError as exc:  # tried again, as it may still be ours then
            log.warning("the lock %r was not renewed: %s", self._name, exc)

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
