"""What every noun of the store stands on: connection, keys, scripts, records and their errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..clock import Clock, SystemClock
from ..codec import (
    Json,
    Unreadable,
    check_json,
    decode,
    decode_many,
    encode,
    message_from_data,
    message_to_data,
    must_fail_again,
)
from ..config import RedisConfig
from ..connection import Connections
from ..errors import (
    InvalidInput,
    RecordUnreadable,
    SessionNotFound,
    SessionTooLarge,
    StoreUnavailable,
    TurnUncertain,
)
from ..keys import GRACE_MS, Keys, check_session_id, check_user_id
from ..locks import TakenLocks
from ..models import Message, UnreadableRecord
from ..scripts import ReplyLost, Scripts

log = logging.getLogger("miniagent_redis")


class StoreBase:
    """Connection, keys and records of one store.

    Override ``serialize`` and ``deserialize`` together to store another format than JSON; the
    bytes are opaque to Redis.
    """

    def __init__(self, config: RedisConfig | None = None, *, clock: Clock | None = None) -> None:
        self.config = config or RedisConfig.from_env()
        self.clock = clock or SystemClock()
        self.keys = Keys(self.config.namespace)
        self.connections = Connections(self.config, self.clock)
        self.scripts = Scripts(self.connections)
        self._taken = TakenLocks()
        self.unreadable_records = 0
        """How many unreadable records this process has met."""

    # --- records ----------------------------------------------------------------------------

    def serialize(self, data: Any) -> bytes:
        """Turn JSON data (a dict) into the bytes to store."""
        return encode(data)

    def deserialize(self, data: bytes) -> Any:
        """Turn stored bytes back into data; raise any ValueError if they are not readable."""
        return decode(data)

    def _record(self, data: Json) -> bytes:
        record: object = self.serialize(data)
        if isinstance(record, str):
            return record.encode()
        if isinstance(record, (bytes, bytearray, memoryview)):
            return bytes(record)
        raise InvalidInput(f"serialize() must return bytes, not {type(record).__name__}")

    def _data(self, raw: bytes) -> Json | Unreadable:
        try:
            data = self.deserialize(raw)
        except Exception as exc:  # a user's own format may fail in any way
            if isinstance(exc, Unreadable):
                return exc
            must_fail_again(lambda: self.deserialize(raw), exc)
            return Unreadable(repr(exc))
        return data if isinstance(data, dict) else Unreadable("it is not an object")

    def _message_records(self, messages: Sequence[Message]) -> list[bytes]:
        return [self._record({"v": 1, **message_to_data(message)}) for message in messages]

    def _messages(
        self, records: Sequence[bytes], start: int, where: str
    ) -> tuple[list[Message], list[int], list[UnreadableRecord]]:
        """Decode records of a list; unreadable ones are counted, logged and set aside.

        Raises SchemaTooNew if one was written by a later version.
        """
        if getattr(self.deserialize, "__func__", None) is StoreBase.deserialize:
            decoded = decode_many(records)
        else:
            decoded = [self._data(raw) for raw in records]
        messages: list[Message] = []
        indexes: list[int] = []
        unreadable: list[UnreadableRecord] = []
        for index, data in enumerate(decoded, start):
            try:
                if isinstance(data, Unreadable):
                    raise data
                messages.append(message_from_data(data))
                indexes.append(index)
            except Unreadable as exc:
                unreadable.append(UnreadableRecord(index, str(exc), records[index - start]))
                self.unreadable_records += 1
                log.warning("record %d of %s cannot be read and was set aside: %s",
                            index, where, exc)  # fmt: skip
        return messages, indexes, unreadable

    # --- scripts ----------------------------------------------------------------------------

    def _run(
        self,
        name: str,
        session_id: str,
        user_id: str | None,
        *args: str | bytes | int,
        operation: str | None = None,
        insist: float | None = None,
    ) -> list[Any]:
        """Run a session script; return its reply from the status on.

        Raises SessionNotFound, RecordUnreadable (counters that are damaged, or not those of the
        thread), SessionTooLarge, TurnUncertain (a write named by ``operation`` whose reply was
        lost), StoreUnavailable or StoreMisconfigured.
        """
        keys = self.keys.of_session(check_session_id(session_id))
        user = b"" if user_id is None else check_user_id(user_id)
        now = self.clock.server_now_ms()
        try:
            reply = self.scripts.run(
                name,
                keys,
                ["" if now is None else now, GRACE_MS, user, *args],
                insist=insist,
            )
        except ReplyLost as exc:
            if operation is not None:
                raise TurnUncertain(session_id, operation, str(exc)) from exc
            raise self.connections.unavailable(str(exc)) from exc
        if reply[0] == "notfound":
            raise SessionNotFound(session_id)
        if reply[0] == "toolarge":
            raise SessionTooLarge(session_id, reply[1], self.config.max_session_size)
        if reply[0] == "damaged":
            raise RecordUnreadable(reply[1].decode(), "a number in it is lost, or is none")
        if reply[0] == "miscounted":
            raise RecordUnreadable(keys[1], _miscounted(*reply[1:]))
        return reply

    def _call(self, *args: Any) -> Any:
        """Send one plain command that may be repeated."""
        return self._call_many([args])[0]

    def _call_many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send plain commands that may be repeated, in one round trip."""
        try:
            return self.connections.call_many(commands) if commands else []
        except ReplyLost as exc:
            raise self.connections.unavailable(str(exc)) from exc


def _miscounted(count: int, length: int) -> str:
    if length < count:
        what = f"{count - length} of its {count} messages are gone: evicted by the server"
        return f"{what}, or removed by another program"
    return f"{length} messages are in it and {count} were stored: the data was damaged"


def check_data(data: object, what: str) -> Json:
    """Return ``data`` if it is a JSON object; raise InvalidInput otherwise."""
    if not isinstance(data, dict):
        raise InvalidInput(f"{what} must be a dict, not {type(data).__name__}")
    check_json(data, what)
    return data  # pyright: ignore[reportUnknownVariableType]


def milliseconds(seconds: float, what: str) -> int:
    """Return a positive time in whole milliseconds; raise InvalidInput for anything else."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise InvalidInput(f"{what} must be a number of seconds above zero, not {seconds!r}")
    if seconds > 1e9:
        raise InvalidInput(f"{what} of {seconds!r} seconds is more than 30 years")
    return max(1, round(seconds * 1000))


def check_position(value: object, what: str, least: int = 0) -> int:
    """Return a whole number of at least ``least``; raise InvalidInput for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
        raise InvalidInput(f"{what} must be a whole number of at least {least}, not {value!r}")
    return value


def check_wait(seconds: object, what: str) -> float:
    """Return a number of seconds; zero and below mean not to wait. Raises InvalidInput."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
        raise InvalidInput(f"{what} must be a number of seconds, not {seconds!r}")
    return seconds


__all__ = [
    "StoreBase",
    "StoreUnavailable",
    "check_data",
    "check_position",
    "check_wait",
    "log",
    "milliseconds",
]
