"""Keys for tests of encryption, and a source of them that can be turned to."""

from __future__ import annotations

import base64

from miniagent_redis.crypto import KeyRing

OLD = bytes(range(32))
NEW = bytes(range(100, 132))


def text(**keys: bytes) -> str:
    """Return keys as they are written in a setting."""
    return ",".join(f"{name}:{base64.b64encode(key).decode()}" for name, key in keys.items())


class Source:
    """Returns a ring that tests replace, and counts how often it was asked."""

    def __init__(self, **keys: bytes) -> None:
        self.ring: KeyRing | Exception = KeyRing(next(iter(keys)), keys)
        self.asked = 0

    def __call__(self) -> KeyRing:
        self.asked += 1
        if isinstance(self.ring, Exception):
            raise self.ring
        return self.ring
