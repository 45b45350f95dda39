"""Other formats: whoever overrides serialize and deserialize has them used for everything."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
import redis
from talk import OpenStore, call, lines, result, said
from wire import dump

from miniagent_redis.errors import InvalidInput, RecordUnreadable
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager

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
def test_what_decodes_to_no_object_is_unreadable(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch, junk: Any
) -> None:
    store = open_store(Zipped)
    store.create_session("s")
    store.append_to_thread("s", Message("user", "x"))
    monkeypatch.setattr(Zipped, "deserialize", lambda self, data: junk)
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


def test_a_format_set_on_the_object_alone_is_used_as_well(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "serialize", lambda data: json.dumps(data).encode())
    monkeypatch.setattr(store, "deserialize", json.loads)
    store.create_session("s")
    store.append_to_thread("s", Message("user", "x"))
    assert lines(store) == ["user:x"]


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
