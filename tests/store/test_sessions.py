"""Sessions: create, read, change, end; the document keeps what it does not know."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagent_redis.errors import (
    InvalidInput,
    RecordUnreadable,
    SchemaTooNew,
    SessionExists,
    SessionNotFound,
)
from miniagent_redis.models import Message
from miniagent_redis.records.json import loads
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import lines, said

Store = RedisSessionManager
DATA: dict[str, Any] = {
    "text": "é\x00\ud800😀", "big": 2**70, "float": 0.1, "none": None, "list": [True, {"a": []}],
    "": "empty name", "v": 99, "crc": "forged", "user_id": "forged",
}  # fmt: skip


def test_a_session_comes_back_as_it_was_created(store: Store, clock: ManualClock) -> None:
    assert store.create_session("s", DATA, 100, user_id="ada", agent_name="Bot\ud800")
    assert store.get_session("s") == DATA
    assert repr(store.get_session("s")) == repr(DATA)
    state = store.session_state("s")
    assert (state.user_id, state.agent_name, state.session_id) == ("ada", "Bot\ud800", "s")
    assert state.created_at == state.last_activity == pytest.approx(clock.time(), abs=0.001)
    assert state.expires_at == pytest.approx(clock.time() + 100, abs=0.001)
    assert (state.version, state.message_count, state.bytes, state.turns) == (1, 0, 0, 0)
    assert (state.input_tokens, state.output_tokens, state.tool_calls) == (0, 0, 0)


def test_a_session_needs_nothing_but_an_id(store: Store) -> None:
    assert store.create_session("s")
    assert store.get_session("s") == {}
    assert store.session_state("s").user_id is None


def test_what_was_never_created_is_not_there(store: Store, client: redis.Redis) -> None:
    assert store.get_session("s") is None
    assert store.update_session("s", {}) is False
    assert store.delete_session("s") is False
    assert store.extend_session_ttl("s", 5) is False
    for call in (store.session_state, store.load_thread, store.touch_session, store.clear_thread):
        with pytest.raises(SessionNotFound) as caught:
            call("s")
        assert caught.value.session_id == "s"
    assert dump(client) == {}


def test_an_id_is_created_once(store: Store, client: redis.Redis) -> None:
    store.create_session("s", {"a": 1})
    before = {key: found for key, found in dump(client).items() if "{s}" in key}
    with pytest.raises(SessionExists) as caught:
        store.create_session("s", {"a": 2}, 9)
    assert caught.value.session_id == "s"
    assert {key: found for key, found in dump(client).items() if "{s}" in key} == before


def test_update_replaces_the_data_and_nothing_else(store: Store, clock: ManualClock) -> None:
    store.create_session("s", {"a": 1}, user_id="ada", agent_name="Bot")
    store.append_to_thread("s", Message("user", "x"))
    before = store.session_state("s")
    clock.advance(10)
    assert store.update_session("s", DATA)
    after = store.session_state("s")
    assert after.data == DATA
    assert after.version == before.version + 1
    assert (after.user_id, after.agent_name, after.created_at) == (
        "ada", "Bot", before.created_at
    )  # fmt: skip
    assert lines(store) == ["user:x"]


def test_unknown_fields_of_the_document_survive_an_update(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s", {"a": 1}, user_id="ada")
    document = loads(client.get("session:{s}"))  # type: ignore[arg-type]
    del document["crc"]
    client.set("session:{s}", store.serialize({**document, "colour": {"r": 2**70}}), keepttl=True)
    assert store.update_session("s", {"b": 2})
    again = loads(client.get("session:{s}"))  # type: ignore[arg-type]
    assert again["colour"] == {"r": 2**70}
    assert again["data"] == {"b": 2}
    assert store.get_session("s", user_id="ada") == {"b": 2}
    assert client.pttl("session:{s}") > 0  # type: ignore[operator]


def test_delete_leaves_nothing_but_for_a_minute_that_it_was_done(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s", user_id="ada")
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    store.begin_turn("s", "two")
    store.parts.index.flush()
    assert store.delete_session("s")
    assert 0 < client.pttl("ops:{s}") <= 60_000  # type: ignore[operator]
    assert set(client.hgetall("ops:{s}")) == {b"ended", b"ended_at", b"owner"}
    client.delete("ops:{s}")
    assert dump(client) == {}
    assert not store.delete_session("s")
    store.parts.index.flush()
    assert dump(client) == {}


def test_clear_empties_the_thread_and_keeps_the_session(store: Store) -> None:
    store.create_session("s", {"a": 1})
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    assert store.clear_thread("s") == 2
    assert store.clear_thread("s") == 0
    state = store.session_state("s")
    assert (state.message_count, state.bytes, state.turns, state.data) == (0, 0, 1, {"a": 1})


def test_a_newer_document_is_refused_and_left_alone(store: Store, client: redis.Redis) -> None:
    store.create_session("s", {"a": 1})
    newer = store.serialize({"v": 2, "user_id": None, "agent_name": "", "data": {}})
    client.set("session:{s}", newer, keepttl=True)
    before = dump(client)
    for call in (
        lambda: store.get_session("s"),
        lambda: store.session_state("s"),
        lambda: store.update_session("s", {}),
    ):
        with pytest.raises(SchemaTooNew, match="session 's' has schema 2"):
            call()
    assert dump(client) == before


@pytest.mark.parametrize(
    "raw", [b"", b"torn", b"{}", b"[1]", b"\xff\xfe", b'{"v":1,"data":{},"crc":"00000000"}']
)
def test_an_unreadable_document_is_told_and_kept(
    store: Store, client: redis.Redis, raw: bytes
) -> None:
    store.create_session("s", {"a": 1})
    store.append_to_thread("s", Message("user", "x"))
    client.set("session:{s}", raw, keepttl=True)
    for call in (
        lambda: store.get_session("s"),
        lambda: store.session_state("s"),
        lambda: store.update_session("s", {}),
    ):
        with pytest.raises(RecordUnreadable) as caught:
            call()
        assert (caught.value.key, caught.value.raw) == ("session:{s}", raw)
    assert client.get("session:{s}") == raw
    assert store.unreadable_records == 3
    # The conversation goes on all the same.
    assert lines(store) == ["user:x"]
    store.commit_turn(store.begin_turn("s", "y"), [said("z")])
    assert store.list_sessions()[0]["message_count"] == 3


@pytest.mark.parametrize("missing", ["user_id", "agent_name", "data"])
def test_a_document_that_lacks_something_is_unreadable(
    store: Store, client: redis.Redis, missing: str
) -> None:
    store.create_session("s")
    document = {"v": 1, "user_id": None, "agent_name": "", "data": {}}
    del document[missing]
    client.set("session:{s}", store.serialize(document), keepttl=True)
    with pytest.raises(RecordUnreadable, match=missing):
        store.get_session("s")


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e12, "60", True, b"9", [5]])
def test_a_bad_ttl_is_refused(store: Store, client: redis.Redis, ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        store.create_session("s", {}, ttl)
    assert dump(client) == {}
    store.create_session("s")
    before = dump(client)
    with pytest.raises(InvalidInput, match="ttl"):
        store.extend_session_ttl("s", ttl)
    assert dump(client) == before


@settings(max_examples=30, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=40))
def test_any_text_is_a_user_id(memory: Store, user: str) -> None:
    memory.client.flushdb()
    memory.create_session("s", user_id=user)
    memory.create_session("t", user_id=user + "x")
    assert memory.session_state("s", user_id=user).user_id == user
    assert [s["session_id"] for s in memory.list_sessions(user)] == ["s"]
    assert {s["user_id"] for s in memory.list_sessions()} == {user, user + "x"}
    assert memory.delete_session("s", user_id=user)
    assert list(memory.list_sessions(user)) == []


@pytest.mark.parametrize(
    "user", ["{}*", "a\x00b", "\ud800\udfff", "é" * 5000, "x" * 10_000, " ", "\n", "ada", "%2F"]
)
def test_odd_user_ids_on_both_backends(store: Store, user: str) -> None:
    store.create_session("s", user_id=user)
    store.commit_turn(store.begin_turn("s", "one", user_id=user), [said("1")])
    (found,) = store.list_sessions(user)
    assert (found["user_id"], found["message_count"]) == (user, 2)
    assert store.delete_session("s", user_id=user)
    assert store.client.keys("*") == [b"ops:{s}"]
