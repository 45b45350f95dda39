"""Named locks: taken for a block of work, or until they are released by name."""

from __future__ import annotations

from ..errors import MiniAgentError, StoreUnavailable
from ..runtime.durations import Duration
from ..runtime.forking import reset_after_fork
from ..runtime.interrupts import WeakRegistry
from .core import StoreCore, log
from .named_lock import NamedLock, renew_due


class Locks:
    """The named locks of one namespace, and those that this process holds."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._taken: WeakRegistry[NamedLock] = WeakRegistry()
        self._held: dict[str, NamedLock] = {}  # those of acquire_lock

    def lock(self, resource: str, *, ttl: Duration = 30, timeout: Duration = 10.0) -> NamedLock:
        """Return a lock on any name, to be used in ``with``: waits up to ``timeout`` seconds.

        It frees itself after ``ttl`` whole seconds, which start anew for as long as it is held
        and an agent's background thread runs here. Entering raises LockTimeout.
        """
        return self.on(self._core.keys.lock(resource), ttl=ttl, timeout=timeout)

    def on(self, name: str, *, ttl: Duration, timeout: Duration = 0.0) -> NamedLock:
        """Return a lock by the name that its keys are made of."""
        return NamedLock(self._core, name, ttl, timeout, self._taken)

    def acquire_lock(self, resource: str, *, ttl: Duration = 30, timeout: Duration = 0.0) -> bool:
        """Take a lock for this manager until ``release_lock``; return whether it was free.

        Waits up to ``timeout`` seconds. It frees itself as one of ``lock`` does. Raises
        InvalidInput or StoreUnavailable.
        """
        lock = self.lock(resource, ttl=ttl, timeout=timeout)
        if not lock.acquire():
            return False
        self._held[resource] = lock
        return True

    def release_lock(self, resource: str) -> bool:
        """Give back a lock taken with ``acquire_lock``; return whether it was still ours.

        False too if it was not taken. Raises StoreUnavailable; then it frees itself.
        """
        self._core.keys.lock(resource)  # or it cannot be a name of one
        lock = self._held.pop(resource, None)
        return lock is not None and lock.release()

    def is_locked(self, resource: str) -> bool:
        """Whether anybody holds the lock now."""
        return self.lock(resource).is_held()

    def renew(self) -> None:
        """Renew the locks held here that have used up a third of their ttl.

        Raises nothing: what cannot be renewed is logged, and the lock tells by ``is_lost``.
        """
        renew_due(self._taken)

    def give_back(self) -> None:
        """Release what ``acquire_lock`` took and nobody released. Raises StoreUnavailable."""
        held, self._held = self._held, {}
        for lock in held.values():
            try:
                lock.release()
            except MiniAgentError as exc:
                log.warning("a lock could not be given back; its ttl will end: %s", exc)
                if isinstance(exc, StoreUnavailable):
                    raise
