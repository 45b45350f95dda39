"""A cache of JSON values by name, for tool results and model replies."""

from __future__ import annotations

from typing import Any

from ..codec import Unreadable, check_json
from .base import StoreBase, log, milliseconds


class Cache(StoreBase):
    """Values that may be gone at any time and expire by themselves."""

    def cache_get(self, key: str, default: Any = None) -> Any:
        """Return the cached value, or ``default``. An entry that cannot be read counts as absent.

        Raises StoreUnavailable, so that a caller can tell an outage from a miss.
        """
        raw = self._call("GET", self.keys.cache(key))
        if raw is None:
            return default
        data = self._data(raw)
        if isinstance(data, Unreadable) or "value" not in data:
            self.unreadable_records += 1
            log.warning("the cache entry %r cannot be read and is ignored: %s", key, data)
            return default
        return data["value"]

    def cache_set(self, key: str, value: Any, ttl: float = 3600) -> None:
        """Cache a JSON value for ``ttl`` seconds."""
        check_json(value, "the value")
        record = self._record({"v": 1, "value": value})
        self._call("SET", self.keys.cache(key), record, "PX", milliseconds(ttl, "ttl"))

    def cache_delete(self, key: str) -> bool:
        """Forget a value; return whether it was there."""
        return bool(self._call("DEL", self.keys.cache(key)))
