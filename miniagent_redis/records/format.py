"""How data becomes the bytes that are stored: as JSON, or in a format of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from attrs import frozen

from ..errors import InvalidInput, MiniAgentError
from ..runtime.checks import with_methods
from .frame import Unreadable, decode, decode_many, encode, stamped, upcast
from .json import Json, check_members
from .sealed import EncryptionKeyMissing, key_id_of

_NAMES = {
    "session": "session {!r}",
    "message": "a message of session {!r}",
    "event": "an event of session {!r}",
    "cache": "the cache entry {!r}",
    "turn": "a spooled turn of session {!r}",
}


@frozen
class Where:
    """What a record is, and what it belongs to: for messages, and to bind encrypted data to it.

    ``kind`` is "session" (its document), "message", "event" (what is told of a turn beside its
    messages), "cache" or "turn" (of the spool, without its messages). ``key`` is the session id, or
    the cache key.
    """

    kind: str
    key: str
    namespace: str = ""

    def __str__(self) -> str:
        return _NAMES.get(self.kind, self.kind + " {!r}").format(self.key)


class RecordFormat(Protocol):
    """Turns data into the bytes of a record, and back. Safe for threads.

    Hand one to ``RedisSessionManager(config, format=…)``. All that store, cache and spool keep
    passes through it; only what finds a record (ids, names, counts, times) does not. What comes
    back must be equal to what went in. Unreadable is in ``miniagent_redis.records.frame``.
    """

    def encode(self, data: Json, where: Where) -> bytes:
        """Return the bytes to store. Raises InvalidInput for what the format cannot hold."""
        ...

    def decode(self, raw: bytes, where: Where) -> Json:
        """Return the data, in today's schema. Raises Unreadable, or SchemaTooNew."""
        ...

    def decode_many(self, records: Sequence[bytes], where: Where) -> list[Json | Unreadable]:
        """Decode records that belong to the same; for a bad one its Unreadable is in the list."""
        ...


class JsonFormat:
    """The usual format: JSON with a schema number and a checksum. See frame.py."""

    def encode(self, data: Json, where: Where) -> bytes:
        """Return the bytes to store. Raises InvalidInput for what JSON cannot hold."""
        check_members(data)
        return encode(data)

    def decode(self, raw: bytes, where: Where) -> Json:
        """Return the data. Raises Unreadable, SchemaTooNew, or EncryptionKeyMissing."""
        try:
            return upcast(decode(raw), where.kind, where)
        except Unreadable:
            _refuse_sealed(raw, where)
            raise

    def decode_many(self, records: Sequence[bytes], where: Where) -> list[Json | Unreadable]:
        """Decode records at one go. Raises SchemaTooNew, or EncryptionKeyMissing."""
        found = decode_many(records)
        for index, data in enumerate(found):
            try:
                if isinstance(data, Unreadable):
                    _refuse_sealed(records[index], where)
                else:
                    found[index] = upcast(data, where.kind, where)
            except Unreadable as exc:
                found[index] = exc
        return found


def _refuse_sealed(raw: bytes, where: Where) -> None:
    if (key_id := key_id_of(raw, where)) is not None:
        raise EncryptionKeyMissing(str(where), key_id)


class OwnFormat:
    """The format of two functions, such as a subclass's ``serialize`` and ``deserialize``.

    They decide what can be stored: the data is theirs to check. It has a schema number, as ``"v"``,
    which must come back with it.
    """

    def __init__(
        self, serialize: Callable[[Any], object], deserialize: Callable[[bytes], object]
    ) -> None:
        self._serialize = serialize
        self._deserialize = deserialize

    def encode(self, data: Json, where: Where) -> bytes:
        """Return the bytes to store. Raises InvalidInput for what ``serialize`` cannot take."""
        try:
            record = self._serialize(stamped(data))
        except MiniAgentError:
            raise
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise InvalidInput(
                f"serialize() cannot store {where}",
                cause=f"{type(exc).__name__}: {exc}",
                hint="change the data, or let serialize() and deserialize() know what is in it",
            ) from exc
        if isinstance(record, str):
            return record.encode()
        if isinstance(record, (bytes, bytearray, memoryview)):
            return bytes(cast(bytes, record))
        raise InvalidInput(f"serialize() must return bytes, not {type(record).__name__}")

    def decode(self, raw: bytes, where: Where) -> Json:
        """Return the data, in today's schema. Raises Unreadable, or SchemaTooNew."""
        try:
            data = self._deserialize(raw)
        except Unreadable:
            raise
        except Exception as exc:  # it may fail in any way
            self._must_fail_again(raw, exc)
            raise Unreadable(repr(exc)) from exc
        if not isinstance(data, dict):
            raise Unreadable("it is not an object")
        return upcast(dict(cast(Json, data)), where.kind, where)

    def decode_many(self, records: Sequence[bytes], where: Where) -> list[Json | Unreadable]:
        """Decode records one by one. Raises SchemaTooNew."""
        return [self._decode_or_reason(raw, where) for raw in records]

    def _decode_or_reason(self, raw: bytes, where: Where) -> Json | Unreadable:
        try:
            return self.decode(raw, where)
        except Unreadable as exc:
            return exc

    def _must_fail_again(self, raw: bytes, error: Exception) -> None:
        """Raise ``error`` if decoding succeeds now: then the record is not to blame.

        It was thrown in by a signal handler, as job runners do at a time limit; a record that is
        unreadable is so each time.
        """
        try:
            self._deserialize(raw)
        except Exception:
            return
        raise error


def choose_format(owner: Any, base: type[Any], format: RecordFormat | None) -> RecordFormat:
    """Return the format of a store: the one handed in, that of its class, or JSON.

    Its class has one if it overrides ``serialize`` or ``deserialize`` of ``base``. Raises
    InvalidInput for two formats.
    """
    kind = type(owner)
    names = ("serialize", "deserialize")
    if all(getattr(kind, name) is getattr(base, name) for name in names):
        if format is None:
            return JsonFormat()
        return with_methods(format, "format", "encode", "decode", "decode_many")
    if format is not None:
        raise InvalidInput(
            f"{kind.__name__} has a format of its own, and another one was handed in",
            cause="it overrides serialize() and deserialize(), and format= was given",
            hint="use one of the two",
        )
    return OwnFormat(owner.serialize, owner.deserialize)
