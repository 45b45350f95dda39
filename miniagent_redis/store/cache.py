"""A cache of JSON values by name, for tool results and model replies.

That many who ask at once compute a value once is in single_flight.py.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from attrs import frozen

from ..errors import SchemaTooNew
from ..records.frame import Unreadable
from ..records.json import Json
from ..records.sealed import EncryptionKeyMissing
from ..runtime.durations import Duration
from ..runtime.forking import reset_after_fork
from .checks import milliseconds
from .core import StoreCore, log

_SHORTEST = 0.9  # of a ttl, so that values cached together do not all end together


@frozen
class CacheEntry:
    """A cached value, and how long computing it took, in seconds."""

    value: Any
    seconds: float = 0.0


@frozen
class CacheStats:
    """What the cache did for this process.

    ``failures`` counts how often Redis was away, so that a value was computed in place of being
    looked up, or not kept. ``saved_seconds`` is what computing the hits would have taken.
    """

    hits: int = 0
    misses: int = 0
    failures: int = 0
    saved_seconds: float = 0.0


class Cache:
    """Values that may be gone at any time and expire by themselves."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._stats = CacheStats()
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._counting = threading.RLock()  # over the statistics

    @property
    def stats(self) -> CacheStats:
        """Hits, misses and seconds saved since this manager was made, in this process."""
        return self._stats

    def cache_get(self, key: str, default: Any = None) -> Any:
        """Return the cached value, or ``default``. An entry that cannot be read counts as absent.

        Raises StoreUnavailable, so that a caller can tell an outage from a miss.
        """
        entry = self.entry(key)
        if entry is None:
            self.count(misses=1)
            return default
        self.count(hits=1, saved_seconds=entry.seconds)
        return entry.value

    def cache_set(self, key: str, value: Any, ttl: Duration = 3600) -> None:
        """Cache a JSON value for ``ttl`` seconds. Raises InvalidInput or StoreUnavailable."""
        record = self._record(key, {"value": value})
        self._core.call("SET", self._core.keys.cache(key), record, "PX", milliseconds(ttl, "ttl"))

    def cache_delete(self, key: str) -> bool:
        """Forget a value; return whether it was there.

        Also True if a reply was lost and the value is not there: this call may have removed it.
        """
        removed, was_lost = self._core.call_told("DEL", self._core.keys.cache(key))
        return bool(removed) or was_lost

    def entry(self, key: str) -> CacheEntry | None:
        """Return the entry; None if there is none that can be read."""
        raw = self._core.call("GET", self._core.keys.cache(key))
        if raw is None:
            return None
        try:
            data = self._core.format.decode(raw, self._core.where("cache", key))
            if "value" not in data:
                raise Unreadable("it has no value")
        except (Unreadable, SchemaTooNew, EncryptionKeyMissing) as exc:
            self._core.tally.unreadable_records += 1
            log.warning("the cache entry %r cannot be read and is ignored: %s", key, exc)
            return None
        seconds = data.get("seconds")
        return CacheEntry(data["value"], seconds if isinstance(seconds, (int, float)) else 0.0)

    def keep(self, key: str, entry: CacheEntry, ttl: float) -> None:
        """Cache a value for up to ``ttl`` seconds and tell those who wait for it."""
        record = self._record(key, {"value": entry.value, "seconds": entry.seconds})
        ttl_ms = milliseconds(ttl * random.uniform(_SHORTEST, 1.0), "ttl")
        name = self._core.keys.cache(key)
        wakes_by = self._core.connections.listening.wakes_by
        self._core.call_many([("SET", name, record, "PX", ttl_ms), (wakes_by, name, "")])

    def _record(self, key: str, data: Json) -> bytes:
        self._core.keys.cache(key)  # it refuses what is no name
        return self._core.format.encode(data, self._core.where("cache", key))

    def count(
        self, hits: int = 0, misses: int = 0, failures: int = 0, saved_seconds: float = 0.0
    ) -> None:
        with self._counting:
            now = self._stats
            self._stats = CacheStats(
                now.hits + hits,
                now.misses + misses,
                now.failures + failures,
                now.saved_seconds + saved_seconds,
            )
