"""A cache of JSON values by name, for tool results and model replies.

That many who ask at once compute a value once is in flight.py.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from attrs import frozen

from ..codec import Unreadable, check_json
from ..forking import anew_in_child
from .base import StoreBase, log, milliseconds

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


class Cache(StoreBase):
    """Values that may be gone at any time and expire by themselves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cache_stats = CacheStats()
        self._count_anew()
        anew_in_child(self._count_anew)

    def _count_anew(self) -> None:
        self._counting = threading.RLock()  # over the statistics

    @property
    def cache_stats(self) -> CacheStats:
        """Hits, misses and seconds saved since this manager was made, in this process."""
        return self._cache_stats

    def cache_get(self, key: str, default: Any = None) -> Any:
        """Return the cached value, or ``default``. An entry that cannot be read counts as absent.

        Raises StoreUnavailable, so that a caller can tell an outage from a miss.
        """
        entry = self._cache_entry(key)
        if entry is None:
            self._count_cache(misses=1)
            return default
        self._count_cache(hits=1, saved_seconds=entry.seconds)
        return entry.value

    def cache_set(self, key: str, value: Any, ttl: float = 3600) -> None:
        """Cache a JSON value for ``ttl`` seconds."""
        check_json(value, "the value")
        record = self._record({"v": 1, "value": value})
        self._call("SET", self.keys.cache(key), record, "PX", milliseconds(ttl, "ttl"))

    def cache_delete(self, key: str) -> bool:
        """Forget a value; return whether it was there."""
        return bool(self._call("DEL", self.keys.cache(key)))

    def _cache_entry(self, key: str) -> CacheEntry | None:
        raw = self._call("GET", self.keys.cache(key))
        if raw is None:
            return None
        data = self._data(raw)
        if isinstance(data, Unreadable) or "value" not in data:
            self.unreadable_records += 1
            log.warning("the cache entry %r cannot be read and is ignored: %s", key, data)
            return None
        seconds = data.get("seconds")
        return CacheEntry(data["value"], seconds if isinstance(seconds, (int, float)) else 0.0)

    def _cache_computed(self, key: str, entry: CacheEntry, ttl: float) -> None:
        """Cache a value for up to ``ttl`` seconds and tell those who wait for it."""
        check_json(entry.value, "the value")
        record = self._record({"v": 1, "value": entry.value, "seconds": entry.seconds})
        ttl_ms = milliseconds(ttl * random.uniform(_SHORTEST, 1.0), "ttl")
        self._call_many(
            [
                ("SET", self.keys.cache(key), record, "PX", ttl_ms),
                ("PUBLISH", self.keys.cache(key), ""),
            ]
        )

    def _count_cache(
        self, hits: int = 0, misses: int = 0, failures: int = 0, saved_seconds: float = 0.0
    ) -> None:
        with self._counting:
            now = self._cache_stats
            self._cache_stats = CacheStats(
                now.hits + hits,
                now.misses + misses,
                now.failures + failures,
                now.saved_seconds + saved_seconds,
            )
