"""AES-256-GCM for one record: the only module that imports ``cryptography``.

A record is ``enc1:<key id>:``, a nonce of 12 bytes, and what AES-GCM makes of the data: as many
bytes as it had, and a tag of 16. Each place (namespace, kind, and session or cache key) has a key
of its own, derived from that of the ring (HKDF with SHA-256, RFC 5869). So what was stored for one
place cannot be read as another's, and the limit of 2^32 random nonces a key (NIST SP 800-38D, 8.3)
is that of one session's messages, not of all records. The place and the key's id are associated
data too.
"""

from __future__ import annotations

import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..records.format import Where
from ..records.frame import Unreadable
from ..records.sealed import PREFIX

_NONCE = 12  # bytes
_TAG = 16
_PLACES = 4096
"""Derived keys that are kept: deriving one takes longer than encrypting with it."""


def seal(data: bytes, where: Where, key_id: str, secret: bytes) -> bytes:
    """Encrypt the bytes of a record for its place."""
    head, place = _head(key_id), _place(where)
    nonce = os.urandom(_NONCE)
    return head + nonce + _cipher(secret, place).encrypt(nonce, data, head + place)


def unseal(record: bytes, where: Where, key_id: str, secret: bytes) -> bytes:
    """Return what was encrypted; raises Unreadable if it was not for this place and by this key."""
    head, place = _head(key_id), _place(where)
    at = len(head) + _NONCE
    if len(record) < at + _TAG:
        raise Unreadable("it is encrypted, and a part of it is missing")
    try:
        return _cipher(secret, place).decrypt(record[len(head) : at], record[at:], head + place)
    except InvalidTag:
        raise Unreadable(
            "it is encrypted, and was altered, or stored for another session, kind or namespace, "
            f"or with another key named {key_id!r}"
        ) from None


def _head(key_id: str) -> bytes:
    return PREFIX + key_id.encode("ascii") + b":"


def _place(where: Where) -> bytes:
    """Return the place as bytes that no other place has: each part with its length before it."""
    parts = [
        part.encode("utf-8", "surrogatepass") for part in (where.namespace, where.kind, where.key)
    ]
    return b"miniagent-redis 1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


@lru_cache(_PLACES)
def _cipher(secret: bytes, place: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, None, place).derive(secret))
