"""How an encrypted record is known, and what is raised where its key is not at hand.

Encrypting is in ``miniagent_redis.crypto``. That a record is encrypted is known here, so that a
store without keys does not take it for damaged: it is whole, and somebody has its key.
"""

from __future__ import annotations

import re

from ..errors import MiniAgentError, RecordUnreadable, SchemaTooNew

PREFIX = b"enc1:"
"""What an encrypted record begins with; behind it come the id of its key and a colon."""


class EncryptionKeyMissing(RecordUnreadable):
    """The record is encrypted, and its key is not at hand. It is whole, and was left where it is.

    ``key_id`` is the id of the key that is needed.
    """

    def __init__(self, what: str, key_id: str) -> None:
        MiniAgentError.__init__(
            self,
            f"{what} is encrypted with the key {key_id!r}, which is not at hand",
            cause="this store has no key with that id",
            hint="add it to encryption_keys (MINIAGENT_ENCRYPTION_KEYS), and keep old keys until "
            "nothing is stored with them any more",
        )
        self.key: str = what
        self.reason: str = self.problem
        self.raw: bytes = b""
        self.key_id: str = key_id


_HEAD = re.compile(rb"enc([1-9]\d{0,3}):([A-Za-z0-9._-]{1,64}):")


def key_id_of(record: bytes, what: object) -> str | None:
    """Return the id of the key that a record is encrypted with, or None if it is not encrypted.

    ``what`` is it, for the message of SchemaTooNew: it was encrypted in a later way.
    """
    found = _HEAD.match(record)
    if found is None:
        return None
    if (way := int(found[1])) > 1:
        raise SchemaTooNew(str(what), f"enc{way}", 1)
    return found[2].decode()
