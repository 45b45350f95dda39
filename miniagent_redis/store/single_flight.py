"""Single flight: of many who want the same value at once, one computes it, the others wait for it.

The one holds a named lock; a signal on the entry's channel wakes the others. Who gets no signal,
because the one died, looks again about every second, and takes over when the lock has expired.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from ..errors import InvalidInput, StoreMisconfigured, StoreUnavailable
from ..runtime.cancellation import raise_if_cancelled, run_coroutine
from ..runtime.durations import Duration
from .cache import Cache, CacheEntry
from .checks import milliseconds, optional_wait
from .core import StoreCore, log
from .locks import Locks
from .named_lock import NamedLock
from .wakes import Wakes

_LOOK_AROUND = 0.25  # seconds between two looks at whether anybody still wants the value
_LOOKS = 4  # without a signal, until Redis is asked again
_AWAY = (StoreUnavailable, StoreMisconfigured)


class SingleFlight:
    """Values of the cache that many ask for, computed once."""

    def __init__(self, core: StoreCore, cache: Cache, locks: Locks) -> None:
        self._core = core
        self._cache = cache
        self._locks = locks

    def flight(
        self,
        key: str,
        *,
        timeout: Duration | None = None,
        lock_ttl: Duration = 5,
        check: Callable[[], object] = raise_if_cancelled,
    ) -> Flight:
        """Return one caller's wish for the value of ``key``: see Flight."""
        lock = self._locks.on(self._core.keys.cache_lock(key), ttl=lock_ttl)
        return Flight(self._core, self._cache, lock, key, timeout, check)

    def cache_get_or_set(
        self,
        key: str,
        compute: Callable[[], Any],
        ttl: Duration = 3600,
        *,
        timeout: Duration | None = 30.0,
        lock_ttl: Duration = 30,
    ) -> Any:
        """Return the cached value, or what ``compute()`` gives, a JSON value, which is cached.

        Of all processes that ask at the same time one computes and the others wait for its value:
        up to ``timeout`` seconds (None: without end), then they compute it themselves. If the one
        fails, its error is its own and the next one computes at once; if its process dies, when its
        lock has expired: ``lock_ttl`` whole seconds, which start anew for as long as an agent's
        background thread runs there. Entries last up to a tenth less than ``ttl`` seconds, so that
        those made together do not end together. When Redis is away the value is computed and not
        kept. ``compute`` may be async. Raises InvalidInput and what ``compute`` raises.
        """
        ttl = milliseconds(ttl, "ttl") / 1000
        if not callable(compute):
            raise InvalidInput(
                f"compute must be a function without arguments, not {compute!r:.100}",
                hint="write lambda: … around what computes it",
            )
        with self.flight(key, timeout=timeout, lock_ttl=lock_ttl) as flight:
            if flight.is_hit:
                return flight.value
            value = compute()
            if iscoroutine(value):
                value = run_coroutine(value)
            flight.keep(value, ttl)
            return value


class Flight:
    """One caller's wish for a cached value. A ``with`` block begins and ends it.

    ``begin`` waits while somebody else computes the value; ``check`` is called meanwhile, several
    times a second, to raise when nobody wants it any more. Then either ``is_hit``, and ``value`` is
    there, ``saved_seconds`` sooner than by computing it; or it is for the caller to compute, and to
    ``keep`` if that goes well. That Redis is away is no error: it is then for the caller too.
    ``end`` lets the others go on, who wait for the caller's value; twice is fine, and so is another
    thread than the one that began it.
    """

    def __init__(
        self,
        core: StoreCore,
        cache: Cache,
        lock: NamedLock,
        key: str,
        timeout: Duration | None,
        check: Callable[[], object],
    ) -> None:
        self.is_hit: bool = False
        self.value: Any = None
        self.saved_seconds: float = 0.0
        self._core = core
        self._cache = cache
        self._lock = lock
        self._key = key
        self._timeout = optional_wait(timeout)
        self._check = check
        self._clock = core.clock
        self._began = self._clock.monotonic()
        self._may_keep = True
        self._is_kept = False
        self._leads = False

    def begin(self) -> Flight:
        """Find the value, or become the one who computes it; return self."""
        try:
            self._find_or_lead()
        except _AWAY as exc:
            self._may_keep = isinstance(exc, StoreUnavailable)  # it may be back by then
            self._failed("not looked up", exc)
        except BaseException:
            self.end()
            raise
        if self.is_hit:
            self._cache.count(hits=1, saved_seconds=self.saved_seconds)
        else:
            self._cache.count(misses=1)
        self._began = self._clock.monotonic()
        return self

    def end(self) -> None:
        """Let others go on: with the value, or one of them in our place."""
        if not self._leads:
            return
        self._leads = False
        try:
            self._lock.release()
            if not (self.is_hit or self._is_kept):
                wakes_by = self._core.connections.listening.wakes_by
                self._core.call(wakes_by, self._core.keys.cache(self._key), "")
        except _AWAY as exc:
            log.warning("the lock on the cache entry %r will have to expire: %s", self._key, exc)

    def __enter__(self) -> Flight:
        return self.begin()

    def __exit__(self, *_: object) -> None:
        self.end()

    def keep(self, value: Any, ttl: float) -> None:
        """Cache the value for up to ``ttl`` seconds, and give it to those who wait.

        Raises InvalidInput if it is no JSON value.
        """
        entry = CacheEntry(value, self._clock.monotonic() - self._began)
        if not self._may_keep:
            return
        try:
            self._cache.keep(self._key, entry, ttl)
            self._is_kept = True
        except _AWAY as exc:
            self._failed("not kept", exc)

    def _find_or_lead(self) -> None:
        with Wakes(self._core, self._core.keys.cache(self._key)) as wakes:
            is_ready = False
            while not self._find() and not self._lead():
                self._check()
                if self._timeout is not None and self._waited() >= self._timeout:
                    return
                if is_ready:
                    self._wait(wakes)
                wakes.get_ready()  # and look once more, as what it waits for may just have come
                is_ready = True

    def _wait(self, wakes: Wakes) -> None:
        """Block until the value was kept, or whoever computed it gave up; or for about a second."""
        for _ in range(_LOOKS):
            if wakes.flag.wait(_LOOK_AROUND * random.uniform(0.8, 1)):
                return
            self._check()

    def _find(self) -> bool:
        entry = self._cache.entry(self._key)
        if entry is not None:
            self.is_hit, self.value = True, entry.value
            self.saved_seconds = max(0.0, entry.seconds - self._waited())
        return self.is_hit

    def _lead(self) -> bool:
        """Become the one who computes, if nobody is; unless the value has come meanwhile."""
        self._leads = True  # before it is so: an interrupt, or a lost reply, may leave it with us
        self._leads = self._lock.acquire()
        if self._leads and self._find():
            self.end()
        return self._leads or self.is_hit

    def _waited(self) -> float:
        return self._clock.monotonic() - self._began

    def _failed(self, what: str, error: Exception) -> None:
        self._cache.count(failures=1)
        log.warning("the cache entry %r was %s: %s", self._key, what, error)
