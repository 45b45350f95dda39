"""Single flight: of many who want the same value at once, one computes it, the others wait for it.

The one holds a named lock; a signal on the entry's channel wakes the others. Who gets no signal,
because the one died, looks again about every second, and takes over when the lock has expired.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from inspect import iscoroutine
from typing import Any

from .._mirror import raise_if_cancelled, run_coroutine
from ..connection import Connections
from ..errors import StoreMisconfigured, StoreUnavailable
from ..locks import NamedLock
from ..wire import Listener
from .base import check_wait, log, milliseconds
from .cache import Cache, CacheEntry

_LOOK_AROUND = 0.25  # seconds between two looks at whether anybody still wants the value
_LOOKS = 4  # without a signal, until Redis is asked again
_AWAY = (StoreUnavailable, StoreMisconfigured)


class SingleFlight(Cache):
    """A cache in which a value that many ask for is computed once."""

    def cache_get_or_set(
        self,
        key: str,
        compute: Callable[[], Any],
        ttl: float = 3600,
        *,
        timeout: float | None = 30.0,
        lock_ttl: int = 30,
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
        milliseconds(ttl, "ttl")
        with Flight(self, key, timeout=timeout, lock_ttl=lock_ttl) as flight:
            if flight.is_hit:
                return flight.value
            value = compute()
            if iscoroutine(value):
                value = run_coroutine(value)
            flight.keep(value, ttl)
            return value


class Flight:
    """One caller's wish for a cached value, as a context manager.

    Entering it waits while somebody else computes the value; ``check`` is called meanwhile, several
    times a second, to raise when nobody wants it any more. Then either ``is_hit``, and ``value`` is
    there, ``saved_seconds`` sooner than by computing it; or it is for the caller to compute, and to
    ``keep`` if that goes well. That Redis is away is no error: it is then for the caller too.
    """

    def __init__(
        self,
        cache: Cache,
        key: str,
        *,
        timeout: float | None = None,
        lock_ttl: int = 5,
        check: Callable[[], None] = raise_if_cancelled,
    ) -> None:
        self.is_hit = False
        self.value: Any = None
        self.saved_seconds = 0.0
        self._cache = cache
        self._key = key
        self._timeout = None if timeout is None else check_wait(timeout, "timeout")
        self._check = check
        self._clock = cache.clock
        self._began = self._clock.monotonic()
        self._may_keep = True
        self._is_kept = False
        self._leads = False
        self._lock = NamedLock(
            cache.connections, cache.keys.cache_lock(key), lock_ttl, 0, cache._taken
        )

    def __enter__(self) -> Flight:
        try:
            self._find_or_lead()
        except _AWAY as exc:
            self._may_keep = isinstance(exc, StoreUnavailable)  # it may be back by then
            self._failed("not looked up", exc)
        except BaseException:
            self._land()
            raise
        if self.is_hit:
            self._cache._count_cache(hits=1, saved_seconds=self.saved_seconds)
        else:
            self._cache._count_cache(misses=1)
        self._began = self._clock.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._land()

    def keep(self, value: Any, ttl: float) -> None:
        """Cache the value for up to ``ttl`` seconds, and give it to those who wait.

        Raises InvalidInput if it is no JSON value.
        """
        entry = CacheEntry(value, self._clock.monotonic() - self._began)
        if not self._may_keep:
            return
        try:
            self._cache._cache_computed(self._key, entry, ttl)
            self._is_kept = True
        except _AWAY as exc:
            self._failed("not kept", exc)

    def _find_or_lead(self) -> None:
        signal = _Signal(self._cache.connections, self._cache.keys.cache(self._key))
        try:
            while not self._find() and not self._lead():
                self._check()
                if self._timeout is not None and self._waited() >= self._timeout:
                    return
                signal.wait(self._check)
        finally:
            signal.close()

    def _find(self) -> bool:
        entry = self._cache._cache_entry(self._key)
        if entry is not None:
            self.is_hit, self.value = True, entry.value
            self.saved_seconds = max(0.0, entry.seconds - self._waited())
        return self.is_hit

    def _lead(self) -> bool:
        """Become the one who computes, if nobody is; unless the value has come meanwhile."""
        self._leads = True  # before it is so: an interrupt, or a lost reply, may leave it with us
        self._leads = self._lock.acquire()
        if self._leads and self._find():
            self._land()
        return self._leads or self.is_hit

    def _waited(self) -> float:
        return self._clock.monotonic() - self._began

    def _land(self) -> None:
        """Let others go on: with the value, or one of them in our place."""
        if not self._leads:
            return
        self._leads = False
        try:
            self._lock.release()
            if not (self.is_hit or self._is_kept):
                self._cache._call("PUBLISH", self._cache.keys.cache(self._key), "")
        except _AWAY as exc:
            log.warning("the lock on the cache entry %r will have to expire: %s", self._key, exc)

    def _failed(self, what: str, error: Exception) -> None:
        self._cache._count_cache(failures=1)
        log.warning("the cache entry %r was %s: %s", self._key, what, error)


class _Signal:
    """Wakes when a value was kept, or whoever computed it has given up."""

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._listener: Listener | None = None

    def wait(self, check: Callable[[], None]) -> None:
        """Block until the signal comes, or for about a second. The first call only subscribes.

        So the caller looks once more after that: what it waits for may just have come.
        """
        if self._listener is None:
            self._subscribe()
            return
        for _ in range(_LOOKS):
            check()
            try:
                with self._connections.translating():
                    got = self._listener.get_message(timeout=_LOOK_AROUND * random.uniform(0.8, 1))
            except StoreUnavailable:
                # The caller asks Redis next: if it answers, a new subscription will do.
                self.close()
                return
            if got is not None:
                return

    def _subscribe(self) -> None:
        with self._connections.translating():
            self._listener = self._connections.listener(_LOOK_AROUND * _LOOKS)
            self._listener.subscribe(self._channel)
            self._listener.get_message(timeout=_LOOK_AROUND * _LOOKS)

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
