"""The record format that encrypts what another one makes."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from ..config import RedisConfig
from ..errors import InvalidInput, StoreMisconfigured
from ..records.format import JsonFormat, RecordFormat, Where
from ..records.frame import Unreadable
from ..records.json import Json
from ..records.sealed import EncryptionKeyMissing, key_id_of
from ..runtime.checks import with_methods, yes_or_no
from ..runtime.installing import pip_install
from .ring import Keys, KeySource


class EncryptedFormat:
    """Encrypts records with AES-256-GCM, each for its place. Safe for threads and forks.

    ``keys`` is a KeyRing, a mapping of ids to keys of 32 bytes whose first one is the current one,
    a text such as ``"new:BASE64,old:BASE64"`` or ``"file:/path"``, or a function that returns one
    of these. A function and a file are asked again once a minute, and for a key that is not known.
    ``inner`` is the format of what is encrypted. With ``reads_plain`` also records are read that
    are not encrypted, which anybody who can write to Redis can make: for the time of a change.
    """

    def __init__(
        self, keys: KeySource, inner: RecordFormat | None = None, *, reads_plain: bool = False
    ) -> None:
        self._cipher = _cipher_module()
        self._keys = Keys(keys)
        inner = JsonFormat() if inner is None else inner
        self._inner = with_methods(inner, "inner", "encode", "decode", "decode_many")
        self._reads_plain = yes_or_no(reads_plain, "reads_plain")

    def encode(self, data: Json, where: Where) -> bytes:
        """Return the encrypted record. Raises InvalidInput for what the inner format cannot hold.

        Raises StoreMisconfigured if no keys could be had so far.
        """
        record: bytes = self._cipher.seal(
            self._inner.encode(data, where), where, *self._keys.current()
        )
        return record

    def decode(self, raw: bytes, where: Where) -> Json:
        """Return the data. Raises Unreadable, SchemaTooNew, or EncryptionKeyMissing."""
        return self._inner.decode(self._opened(raw, where), where)

    def decode_many(self, records: Sequence[bytes], where: Where) -> list[Json | Unreadable]:
        """Decode records of one place. Raises SchemaTooNew, or EncryptionKeyMissing."""
        found: list[Json | Unreadable] = []
        opened: list[bytes] = []
        bad: dict[int, Unreadable] = {}
        for index, raw in enumerate(records):
            try:
                opened.append(self._opened(raw, where))
            except Unreadable as exc:
                bad[index] = exc
        good = iter(self._inner.decode_many(opened, where))
        for index in range(len(records)):
            found.append(bad[index] if index in bad else next(good))
        return found

    def _opened(self, raw: bytes, where: Where) -> bytes:
        key_id = key_id_of(raw, where)
        if key_id is None:
            if self._reads_plain:
                return raw
            raise Unreadable(
                "it is not encrypted, as it should be: stored by a program without the keys, or "
                "before there were any (EncryptedFormat(…, reads_plain=True) reads it)"
            )
        secret = self._keys.find(key_id)
        if secret is None:
            raise EncryptionKeyMissing(str(where), key_id)
        data: bytes = self._cipher.unseal(raw, where, key_id, secret)
        return data


def format_of(config: RedisConfig, format: RecordFormat | None) -> RecordFormat | None:
    """Return the format that was handed in, or the one that the settings' keys ask for.

    Raises InvalidInput for keys beside a format that does not encrypt.
    """
    keys = config.encryption_keys
    if keys is None or isinstance(format, EncryptedFormat):
        return format
    if format is not None:
        raise InvalidInput(
            "encryption_keys stand beside a format that does not encrypt",
            cause="MINIAGENT_ENCRYPTION_KEYS or encryption_keys= is set, and format= was given",
            hint="hand in EncryptedFormat(keys, inner=…) from miniagent_redis.crypto",
        )
    return EncryptedFormat(keys)


def _cipher_module() -> ModuleType:
    try:
        from . import cipher
    except ImportError as exc:
        raise StoreMisconfigured(
            "encryption needs the cryptography package",
            cause=str(exc),
            hint=pip_install("crypto"),
        ) from exc
    return cipher
