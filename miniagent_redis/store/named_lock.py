"""A named lock over python-redis-lock, used in the one way in which it holds.

A lock keeps others out of a piece of work; it cannot stop a holder that slept past its time. What
must never be written twice is guarded by the turn protocol instead.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import Any

import redis_lock

from ..errors import InvalidInput, LockTimeout, MiniAgentError
from ..models import new_id
from ..runtime.cancellation import is_called_for_a_task, raise_if_cancelled
from ..runtime.durations import FORMS, Duration, seconds
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import Flag, WeakRegistry
from .checks import check_wait, optional_wait
from .core import StoreCore, log
from .operations.expiry import cap_lock

SHORTEST_TTL = 2
_LOST = -inf
_POLL = (0.01, 0.25)


class _Taken(Exception):
    """Somebody else holds the lock. Told so, because python-redis-lock would log a warning."""

    def __init__(self, holder: bytes) -> None:
        self.holder: bytes = holder


class _Client:
    """What python-redis-lock asks of a client, by our own way of sending commands.

    With redis-py's client, a call that a Ctrl-C interrupts may leave its reply to the next one:
    two holders of one lock.
    """

    def __init__(self, core: StoreCore) -> None:
        self.call = core.call
        self._core = core
        self.was_lost = False

    def run(self, text: bytes, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run a script; ``was_lost`` tells then whether an earlier try may have done its work."""
        command = ("EVAL", text, len(keys), *keys, *args)
        reply, self.was_lost = self._core.call_told(*command)
        return reply

    def get(self, name: str) -> Any:
        return self.call("GET", name)

    def exists(self, name: str) -> int:
        return int(self.call("EXISTS", name))

    def set(self, name: str, value: str, *, nx: bool, ex: int) -> bool:
        """Set the key if it is not there; also true if an earlier try did and its reply was lost.

        ``nx`` is always meant. Raises _Taken if it is another holder's.
        """
        holder = self.call("SET", name, value, "NX", "EX", ex, "GET")
        if holder not in (None, value.encode()):
            raise _Taken(holder)
        return True


def _script(text: bytes) -> staticmethod[..., Any]:
    def run(client: _Client, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return client.run(text, keys, args)

    return staticmethod(run)


class _Lock(redis_lock.Lock):  # type: ignore[misc]
    unlock_script = _script(redis_lock.UNLOCK_SCRIPT)
    extend_script = _script(redis_lock.EXTEND_SCRIPT)

    def __init__(self, core: StoreCore, name: str, ttl: int) -> None:
        self.client = _Client(core)
        # With the ttl behind it, so that others can tell when it is wrong.
        super().__init__(self.client, name, expire=ttl, id=f"{new_id()} {ttl}", strict=False)
        # The original has no place for a namespace in front.
        self._name, self._signal = core.keys.of_lock(name)

    @classmethod
    def register_scripts(cls, redis_client: object) -> None:
        """Do nothing: the original registers them once for all locks of the process."""


class NamedLock:
    """One holder's view of a named lock: a context manager, or ``acquire`` and ``release``.

    ``ttl`` is in whole seconds, at least 2. After it the lock frees itself, unless it is renewed:
    by ``extend``, or while an agent's background thread runs. Not reentrant: threads that share the
    object keep each other out. A forked child does not hold what its parent holds.
    """

    def __init__(
        self,
        core: StoreCore,
        name: str,
        ttl: Duration,
        timeout: Duration,
        taken: WeakRegistry[NamedLock],
    ) -> None:
        self._core = core
        self._timeout = check_wait(timeout, "timeout")
        self._name = name
        self._ttl = _whole_seconds(ttl)
        self._taken = taken
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        # Until when it is surely ours, by the monotonic clock; None: not taken.
        self._until: float | None = None
        self._lock: Any = self._new_lock()  # of the last acquisition
        self._capped = b""
        self._own = threading.local()  # of this thread's: another one may have followed since

    def _new_lock(self) -> Any:
        # auto_renewal would start a thread per lock and die silently at the first failure.
        return _Lock(self._core, self._name, self._ttl)

    @property
    def is_lost(self) -> bool:
        """Whether it was taken here and may be someone else's by now. Asks nobody.

        Its ttl is over without a renewal, as when Redis is away, or a renewal found it gone.
        """
        until = self._until
        if self._of_caller() is not self._lock:
            return True
        return until is not None and self._core.clock.monotonic() >= until

    def acquire(self, timeout: Duration | None = None) -> bool:
        """Try for ``timeout`` seconds (0: once) to get the lock; return whether it is ours."""
        clock = self._core.clock
        longest = optional_wait(timeout)
        deadline = clock.monotonic() + (self._timeout if longest is None else longest)
        pause = _POLL[0]
        lock = self._new_lock()  # so that another thread with this very object is another holder
        try:
            while True:
                raise_if_cancelled()
                began = clock.monotonic()
                # Asking without blocking, again and again: a waiter that blocks on the signal key
                # hears nothing when a lock expires.
                if self._try(lock):
                    self._lock = self._own.lock = lock
                    self._taken.add(self)
                    self._until = began + self._ttl
                    return True
                if clock.monotonic() + pause > deadline:
                    return False
                clock.wait(Flag(), pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, _POLL[1])
        except BaseException as exc:
            # A Ctrl-C: it may have been taken all the same, and nobody would have it.
            if not isinstance(exc, MiniAgentError):
                if self._lock is lock:
                    self._until = None
                with suppress(MiniAgentError):  # its ttl ends by itself
                    _unlock(lock)
            raise

    def _of_caller(self) -> Any:
        """Return the lock of this thread's acquisition, else of the last one.

        Tasks have no thread of their own.
        """
        own = None if is_called_for_a_task() else getattr(self._own, "lock", None)
        return own or self._lock

    def _try(self, lock: Any) -> bool:
        try:
            return bool(lock.acquire(blocking=False))
        except redis_lock.AlreadyAcquired:
            return True
        except _Taken as taken:
            self._cap(taken.holder)
            return False

    def _cap(self, holder: bytes) -> None:
        """Let the lock of a holder end within its ttl though the server's clock has gone back.

        One that is there renews it. Asked once for each holder that is met.
        """
        ttl = holder.partition(b" ")[2]
        if ttl.isdigit() and holder != self._capped:
            key = self._core.keys.of_lock(self._name)[0]
            cap_lock(self._core, key, holder=holder, ttl_ms=int(ttl) * 1000)
            self._capped = holder

    def release(self) -> bool:
        """Give the lock back; return False if it had expired or was someone else's by then.

        True also if a reply was lost and the lock was surely ours when this began.
        """
        was_ours = self._until is not None and not self.is_lost
        # First of all: what is given back must not be renewed, whatever happens next.
        lock, self._own.lock = self._of_caller(), None
        if lock is self._lock:
            self._until = None
            self._taken.discard(self)
        try:
            return _unlock(lock) or (was_ours and lock.client.was_lost)
        except BaseException as exc:
            if not isinstance(exc, MiniAgentError):
                with suppress(MiniAgentError):  # its ttl ends by itself
                    _unlock(lock)
            raise

    def extend(self) -> bool:
        """Start the lock's ttl anew; return False if it is no longer ours."""
        until, now = self._until, self._core.clock.monotonic()
        if self._of_caller() is not self._lock:
            return False
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
        until, now = self._until, self._core.clock.monotonic()
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


def _whole_seconds(ttl: Duration) -> int:
    found = seconds(ttl)
    is_whole = isinstance(found, (int, float)) and not isinstance(found, bool) and found % 1 == 0
    if not is_whole or found < SHORTEST_TTL:
        raise InvalidInput(f"a lock's ttl is whole seconds, at least {SHORTEST_TTL}", hint=FORMS)
    return int(found)


def _unlock(lock: Any) -> bool:
    try:
        lock.release()
    except redis_lock.NotAcquired:
        return False
    return True


def renew_due(locks: Iterable[NamedLock]) -> None:
    """Renew each lock that has used up a third of its ttl; log what was lost."""
    for lock in locks:
        lock._renew_if_due()
