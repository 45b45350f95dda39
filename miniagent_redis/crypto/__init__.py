"""Encryption at rest: what is stored can only be read, and only be made, by who has the keys.

Needs the package ``cryptography``, extra ``crypto``. See docs/security.md.
"""

from ..records.sealed import EncryptionKeyMissing
from .format import EncryptedFormat
from .ring import KeyRing

__all__ = ["EncryptedFormat", "EncryptionKeyMissing", "KeyRing"]
