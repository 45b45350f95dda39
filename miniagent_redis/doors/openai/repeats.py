"""Repeated requests: by which name the first and all repetitions of one know the same turn.

With an ``Idempotency-Key`` the name is made of the key and the user: for good. OpenAI's SDKs send
none; they repeat a request whose reply was lost with the same body and ``x-stainless-retry-count``
above 0. So the name of each first try is noted for WINDOW seconds under a digest of the user, the
address and the body, and a later try takes it from there. Two first tries with one body are two
turns: who says "yes" twice means it twice.
"""

from __future__ import annotations

import hashlib

from attrs import frozen

from ...store.manager import RedisSessionManager
from .checks import refuse
from .ids import new_name

WINDOW = 900
"""Seconds: an SDK gives up its first try after 600."""


@frozen
class Repeats:
    """What a request says of being repeated."""

    key: str = ""
    retry_count: int | None = None
    """None if it does not say, so that it cannot be told from a first one."""
    content: bytes = b""
    """What a repetition has in common with the first: address and body."""

    @classmethod
    def of(cls, key: str | None, retry_count: str | None, content: bytes) -> Repeats:
        """Return what headers say."""
        if key is not None and not 0 < len(key) <= 255:
            refuse("Invalid 'Idempotency-Key': it has 1 to 255 characters.", "Idempotency-Key")
        count = int(retry_count) if retry_count and retry_count.isdecimal() else None
        return cls(key or "", count, content)

    def name(self, store: RedisSessionManager, user_id: str) -> str:
        """Return the name of the turn; one round trip if an SDK may repeat the request."""
        if self.key:
            return _digest(b"key", user_id, self.key.encode())
        name = new_name()
        if self.retry_count is None:
            return name
        entry = "openai:" + _digest(b"body", user_id, self.content)
        if self.retry_count > 0:
            found = store.cache_get(entry)
            if isinstance(found, str):
                return found
        store.cache_set(entry, name, WINDOW)
        return name


def _digest(kind: bytes, user_id: str, content: bytes) -> str:
    whole = b"\0".join((kind, user_id.encode("utf-8", "surrogatepass"), content))
    return hashlib.sha256(whole).hexdigest()[:32]
