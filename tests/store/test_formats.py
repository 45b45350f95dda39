"""Other formats: whoever overrides serialize and deserialize has them used for everything."""

from __future__ import annotations

import json
import pickle
import re
import zlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput, RecordUnreadable
from miniagent_redis.models import EventType, Message, ToolCall
from miniagent_redis.records.format import Where
from miniagent_redis.records.frame import Unreadable
from miniagent_redis.records.json import Json
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import OpenStore, call, lines, result, said

Store = RedisSessionManager
MARK = b"zip:"


class Zipped(RedisSessionManager):
    """Compresses; as a stand-in for encryption, nothing readable may be left in Redis."""

    def serialize(self, data: Any) -> bytes:
        return MARK + zlib.compress(json.dumps(data).encode())

    def deserialize(self, data: bytes) -> Any:
        if not data.startswith(MARK):
            raise ValueError("it is not compressed")
        return json.loads(zlib.decompress(data[len(MARK) :]))


@pytest.fixture
def zipped(open_store: OpenStore) -> Store:
    store = open_store(Zipped)
    store.create_session("s", {"secret": "opensesame"}, user_id="ada")
    return store


def test_everything_works_in_another_format(zipped: Store) -> None:
    turn = zipped.begin_turn("s", "opensesame", turn_id="t")
    turn = zipped.stage_step(turn, [call("1"), result("1", "opensesame")])
    zipped.commit_turn(turn, [said("opensesame \ud800")])
    zipped.append_to_thread("s", Message("system", "opensesame"))
    assert zipped.update_session("s", {"secret": 2**70})
    zipped.cache_set("k", {"secret": "opensesame"})

    assert lines(zipped) == [
        "user:opensesame", "assistant:", "tool:opensesame", "assistant:opensesame \ud800",
        "system:opensesame",
    ]  # fmt: skip
    assert zipped.get_session("s") == {"secret": 2**70}
    assert zipped.session_state("s").user_id == "ada"
    assert zipped.cache_get("k") == {"secret": "opensesame"}
    assert zipped.list_sessions("ada")[0]["message_count"] == 5
    assert zipped.load_tail("s", 1).messages[0].text == "opensesame"


def test_nothing_that_was_said_is_readable_in_redis(zipped: Store, client: redis.Redis) -> None:
    turn = zipped.begin_turn("s", "opensesame", turn_id="t")
    turn = zipped.stage_step(turn, [call("1"), result("1", "opensesame")])
    zipped.commit_turn(turn, [said("opensesame")])
    zipped.append_to_thread("s", Message("user", "opensesame"))
    zipped.abort_turn(zipped.begin_turn("s", "opensesame"), ValueError("opensesame"))
    zipped.begin_turn("s", "opensesame")
    zipped.cache_set("k", "opensesame")
    assert "opensesame" not in repr(dump(client))


def test_an_abandoned_turn_is_resumed_in_another_format(zipped: Store, clock: Any) -> None:
    zipped.stage_step(zipped.begin_turn("s", "one"), [call("1")])
    clock.advance(30)
    turn = zipped.begin_turn("s", "two")
    assert turn.resumed
    assert [m.role for m in turn.staged] == ["user", "assistant"]


def test_records_of_the_other_format_are_set_aside_and_kept(
    zipped: Store, store: Store, client: redis.Redis
) -> None:
    store.append_to_thread("s", Message("user", "as json"))
    zipped.append_to_thread("s", Message("user", "as zip"))
    assert lines(store) == ["user:as json"]
    assert lines(zipped) == ["user:as zip"]
    assert zipped.load_thread("s").unreadable[0].reason.startswith("ValueError")
    with pytest.raises(RecordUnreadable):
        store.get_session("s")
    zipped.cache_set("k", 1)
    assert store.cache_get("k", "absent") == "absent"
    assert client.exists("cache:k")


def test_the_size_is_that_of_the_bytes_stored(zipped: Store, client: redis.Redis) -> None:
    zipped.append_to_thread("s", Message("user", "x" * 100_000))
    (record,) = client.lrange("thread:{s}", 0, -1)  # type: ignore[misc]
    assert zipped.session_state("s").bytes == len(record) < 1000


@pytest.mark.parametrize("junk", [[1, 2], "text", None, 7])
def test_what_decodes_to_no_object_is_unreadable(open_store: OpenStore, junk: Any) -> None:
    class Junk(Zipped):
        def deserialize(self, data: bytes) -> Any:
            return junk

    store = open_store(Junk)
    store.create_session("s")
    store.append_to_thread("s", Message("user", "x"))
    assert store.load_thread("s").messages == ()
    assert len(store.load_thread("s").unreadable) == 1


class Texts(RedisSessionManager):
    """Returns text, as one does who knows json better than bytes."""

    def serialize(self, data: Any) -> Any:
        return json.dumps(data)

    def deserialize(self, data: bytes) -> Any:
        return json.loads(data)


def test_a_serializer_may_return_text(open_store: OpenStore) -> None:
    store = open_store(Texts)
    store.create_session("s", {"a": "é"})
    store.append_to_thread("s", Message("user", "é"))
    assert store.get_session("s") == {"a": "é"}
    assert lines(store) == ["user:é"]


@pytest.mark.parametrize("made", [5, None, {"a": 1}])
def test_a_serializer_that_returns_anything_else_is_refused(
    open_store: OpenStore, client: redis.Redis, made: Any
) -> None:
    class Broken(RedisSessionManager):
        def serialize(self, data: Any) -> Any:
            return made

        def deserialize(self, data: bytes) -> Any:
            return json.loads(data)

    store = open_store(Broken)
    with pytest.raises(InvalidInput, match="serialize"):
        store.create_session("s")
    assert dump(client) == {}


class Sealed:
    """As encryption with associated data: a record can only be read where it was written."""

    def encode(self, data: Json, where: Where) -> bytes:
        return zlib.compress(f"{where}|{where.namespace}|".encode() + pickle.dumps(data))

    def decode(self, raw: bytes, where: Where) -> Json:
        seal, namespace, data = zlib.decompress(raw).split(b"|", 2)
        if (seal.decode(), namespace.decode()) != (str(where), where.namespace):
            raise Unreadable("it belongs elsewhere")
        found: Json = pickle.loads(data)
        return found

    def decode_many(self, records: Sequence[bytes], where: Where) -> list[Json | Unreadable]:
        return [self.decode(record, where) for record in records]


def test_a_format_that_is_handed_in_is_used_for_everything_and_told_where(
    open_store: OpenStore, client: redis.Redis, clock: Any
) -> None:
    store = open_store(format=Sealed(), namespace="acme")
    store.create_session("s", {"secret": "opensesame"}, user_id="ada")
    turn = store.begin_turn("s", "opensesame")
    turn = store.stage_step(turn, [call("1"), result("1", "opensesame")])
    turn = store.tell_text(turn, "opensesame")
    store.commit_turn(turn, [said("opensesame")])
    store.abort_turn(store.begin_turn("s", "opensesame"), ValueError("opensesame"))
    store.stage_step(store.begin_turn("s", "opensesame"), [call("2")])
    clock.advance(30)
    turn = store.begin_turn("s", "two")
    assert turn.resumed
    assert store.update_session("s", {"secret": b"opensesame"})
    assert store.cache_get_or_set("k", lambda: {"opensesame"}) == {"opensesame"}
    assert store.cache_get("k") == {"opensesame"}
    assert store.get_session("s") == {"secret": b"opensesame"}
    assert lines(store)[-1] == "assistant:opensesame"
    told = {event.text for event in store.read_events("s")}
    assert "opensesame" in told
    assert not [event for event in store.read_events("s") if "unreadable" in event.data]
    assert "opensesame" not in repr(dump(client))
    store.create_session("t")
    record: Any = client.get("acme:session:{s}")
    client.set("acme:session:{t}", record, keepttl=True)
    with pytest.raises(RecordUnreadable, match="belongs elsewhere"):
        store.get_session("t")


def test_two_formats_for_one_store_are_refused() -> None:
    with pytest.raises(InvalidInput, match="Zipped has a format of its own"):
        Zipped(RedisConfig(url="memory://"), format=Sealed())


WHEN = datetime(2026, 1, 2, tzinfo=UTC)


class Pickled(RedisSessionManager):
    """Holds what JSON does not."""

    def serialize(self, data: Any) -> bytes:
        return pickle.dumps(data)

    def deserialize(self, data: bytes) -> Any:
        return pickle.loads(data)


def test_an_own_format_decides_what_can_be_stored(open_store: OpenStore) -> None:
    store, rich = open_store(Pickled), {"token": b"\x00\xff", "at": WHEN, "tags": {1, 2}, 5: 1j}
    store.create_session("s", rich)
    assert store.get_session("s") == rich
    assert store.update_session("s", {"again": rich})
    assert store.get_session("s") == {"again": rich}
    parts: list[dict[str, Any]] = [{"type": "image", "data": b"\xff", "at": WHEN}]
    calling = Message("assistant", "", tool_calls=(ToolCall("1", "tool", rich),), metadata=rich)
    turn = store.begin_turn("s", Message("user", parts, extra={"at": WHEN}))
    turn = store.stage_step(turn, [calling, result("1")])
    store.commit_turn(turn, [said("done")])
    user, called, *_ = store.load_thread("s").messages
    assert (user.content, user.extra) == (parts, {"at": WHEN})
    assert (called.metadata, called.tool_calls[0].arguments) == (rich, rich)
    event = next(e for e in store.read_events("s") if e.type is EventType.TOOL_CALL)
    assert event.data["arguments"] == rich
    store.cache_set("k", rich)
    assert store.cache_get("k") == rich
    assert store.cache_get_or_set("l", lambda: WHEN) == WHEN
    assert store.cache_get("l") == WHEN


class Padded(RedisSessionManager):
    """Fills the last block with zero bytes, as ciphers do."""

    def serialize(self, data: Any) -> bytes:
        return json.dumps(data).encode() + bytes(40)

    def deserialize(self, data: bytes) -> Any:
        return json.loads(data.rstrip(b"\0"))


def test_events_find_their_message_in_a_format_of_bytes(open_store: OpenStore) -> None:
    store = open_store(Padded)
    store.create_session("s")
    store.append_to_thread("s", Message("user", "hello" * 100))
    store.commit_turn(store.begin_turn("s", "how" * 200), [said("fine" * 100)])
    _, *told = store.read_events("s")
    for event, text in zip(told, ("hello" * 100, "how" * 200, "fine" * 100), strict=True):
        assert text in repr(event.data)


def test_what_an_own_format_cannot_hold_is_bad_input(
    open_store: OpenStore, client: redis.Redis
) -> None:
    store = open_store(Zipped)
    with pytest.raises(InvalidInput, match="serialize") as caught:
        store.create_session("s", {"token": b"x"})
    assert "bytes" in caught.value.cause
    assert dump(client) == {}


@pytest.mark.parametrize("value", [b"x", WHEN, {1}], ids=["bytes", "a date", "a set"])
def test_the_usual_format_says_what_json_cannot_hold(
    store: Store, client: redis.Redis, value: Any
) -> None:
    before = dump(client)
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: store.create_session("s", {"a": value}), "the data['a'] is of type"),
        (lambda: store.cache_set("k", [value]), "the value[0] is of type"),
        (
            lambda: store.append_to_thread("s", Message("user", "x", metadata={"a": value})),
            "the metadata['a'] is of type",
        ),
    ]
    for attempt, said_so in attempts:
        with pytest.raises(InvalidInput, match=re.escape(said_so)) as caught:
            attempt()
        assert "base64" in caught.value.hint
    assert dump(client) == before


def test_messagepack_as_in_the_readme(open_store: OpenStore) -> None:
    msgpack = pytest.importorskip("msgpack")

    class Packed(RedisSessionManager):
        def serialize(self, data: Any) -> bytes:
            packed: bytes = msgpack.packb(data)
            return packed

        def deserialize(self, data: bytes) -> Any:
            return msgpack.unpackb(data)

    store = open_store(Packed)
    store.create_session("s", {"a": [1, "é", None]})
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    assert lines(store) == ["user:one", "assistant:1"]
    assert store.get_session("s") == {"a": [1, "é", None]}
