"""Damaged data: told, kept as it is, and never in the way of the rest."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagent_redis.errors import RecordUnreadable, SchemaTooNew, StoreMisconfigured
from miniagent_redis.models import EventType, Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.calls import call_store, of_sessions
from tests.support.foreign import KEYS, KINDS, put
from tests.support.stored import dump
from tests.support.words import said

Store = RedisSessionManager


@pytest.mark.parametrize("key", KEYS)
def test_a_foreign_type_at_any_key_is_told_and_nothing_changes(
    store: Store, client: redis.Redis, key: str
) -> None:
    store.create_session("s", user_id="ada")
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    turn = store.begin_turn("s", "two")
    own = client.type(key).decode()  # type: ignore[union-attr]
    for kind in set(KINDS) - {own}:
        put(client, key, kind)
        before = dump(client)
        for name in of_sessions():
            with pytest.raises(StoreMisconfigured) as caught:
                call_store(name, store, "s", None)
            assert f"the key {key} holds a {kind}" in str(caught.value)
            assert "namespace" in caught.value.hint
        for finish in (
            lambda: store.stage_step(turn, [said("x")]),
            lambda: store.commit_turn(turn, [said("x")]),
            lambda: store.abort_turn(turn),
        ):
            with pytest.raises(StoreMisconfigured):
                finish()
        assert dump(client) == before


@pytest.mark.parametrize("key", KEYS)
def test_a_foreign_type_is_not_overwritten_by_a_new_session(
    store: Store, client: redis.Redis, key: str
) -> None:
    put(client, key, "set")
    with pytest.raises(StoreMisconfigured, match="holds a set"):
        store.create_session("s")
    assert client.smembers(key) == {b"x"}
    assert [k for k in dump(client) if "{s}" in k] == [key]


@pytest.mark.parametrize("key", ["sessions:{0}", "user:{ada}:sessions", "deadlines:{11}"])
def test_a_foreign_type_at_an_index_loses_no_message(
    store: Store, client: redis.Redis, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.create_session("s", user_id="ada")
    if key == "sessions:{0}":
        key = store.parts.core.keys.sessions(store.parts.core.keys.shard("s"))
    assert client.exists(key)
    put(client, key, "string")
    with caplog.at_level(logging.WARNING, "miniagent_redis"):
        for n in range(3):
            store.clock.advance(10)  # type: ignore[attr-defined]
            version = store.commit_turn(store.begin_turn("s", "x"), [said(str(n))])
            assert store.session_state("s").version == version
    assert "indexes" in caplog.text
    if "deadlines" not in key:
        with pytest.raises(StoreMisconfigured):
            store.list_sessions("ada" if "user" in key else None)
    # The session can be ended all the same.
    assert store.delete_session("s")
    assert store.get_session("s") is None


def test_a_foreign_type_at_the_other_keys(store: Store, client: redis.Redis) -> None:
    put(client, "cache:k", "list")
    put(client, "rate_limit:{k}:60000", "list")
    put(client, "lock:{k}", "list")
    for call in (
        lambda: store.cache_get("k"),
        lambda: store.rate_limit("k"),
        lambda: store.acquire_lock("k"),
    ):
        with pytest.raises(StoreMisconfigured) as caught:
            call()
        assert "password" not in str(caught.value)
    assert client.lrange("cache:k", 0, -1) == client.lrange("rate_limit:{k}:60000", 0, -1) == [b"x"]


# --- records ------------------------------------------------------------------------------------


@pytest.fixture
def thread(store: Store) -> list[bytes]:
    store.create_session("s")
    store.append_to_thread("s", [Message("user", f"message {n}") for n in range(5)])
    records: Any = store.client.lrange("thread:{s}", 0, -1)
    return records


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        b"plain text",
        b"[]",
        b"null",
        b'{"v":1,"role":"user","content":"no checksum"}',
        b'{"v":1,"role":"user","content":"wrong","crc":"00000000"}',
        b"\xff\xfe\xfd" * 1000,
    ],
    ids=lambda raw: repr(raw)[:30],
)
@pytest.mark.parametrize("position", [0, 2, 4])
def test_an_unreadable_record_is_set_aside_counted_logged_and_kept(
    store: Store,
    client: redis.Redis,
    thread: list[bytes],
    raw: bytes,
    position: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client.lset("thread:{s}", position, raw)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "miniagent_redis"):
        found = store.load_thread("s")
    assert [m.text for m in found.messages] == [f"message {n}" for n in range(5) if n != position]
    assert found.indexes == tuple(n for n in range(5) if n != position)
    assert found.count == 5
    (bad,) = found.unreadable
    assert (bad.index, bad.raw) == (position, raw)
    assert bad.reason
    assert store.unreadable_records == 1
    assert f"record {position} of thread:s" in caplog.text
    store.commit_turn(store.begin_turn("s", "on we go"), [said("yes")])
    assert client.lindex("thread:{s}", position) == raw


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 4), st.data())
def test_whatever_happens_to_one_record_the_others_are_read(
    memory: Store, position: int, data: st.DataObject
) -> None:
    memory.client.flushdb()
    memory.create_session("s")
    messages = [Message("user", f"message {n}", id=str(n), created_at=1.0) for n in range(5)]
    memory.append_to_thread("s", messages)
    record: Any = memory.client.lindex("thread:{s}", position)
    cut = data.draw(st.integers(0, len(record) - 1))
    damaged: Any = data.draw(
        st.sampled_from(
            [
                record[:cut],
                record[cut + 1 :],
                record[:cut] + bytes([record[cut] ^ data.draw(st.integers(1, 255))])
                + record[cut + 1 :],
                record[:cut] + data.draw(st.binary(min_size=1, max_size=5)) + record[cut:],
                record + record,
                record[cut:] + record[:cut] if cut else b"",
            ]
        )
    )  # fmt: skip
    memory.client.lset("thread:{s}", position, damaged)
    found = memory.load_thread("s")
    assert [m.text for m in found.messages] == [f"message {n}" for n in range(5) if n != position]
    assert [(r.index, r.raw) for r in found.unreadable] == [(position, damaged)]


def test_a_thread_of_nothing_but_junk_is_read_as_such(store: Store, client: redis.Redis) -> None:
    store.create_session("s")
    store.append_to_thread("s", [Message("user", "x")] * 3)
    for n in range(3):
        client.lset("thread:{s}", n, b"junk")  # type: ignore[arg-type]
    found = store.load_thread("s")
    assert (found.messages, len(found.unreadable)) == ((), 3)
    assert store.clear_thread("s") == 3


def test_a_message_of_a_newer_version_is_refused_and_kept(
    store: Store, client: redis.Redis, thread: list[bytes]
) -> None:
    newer = store.serialize({"v": 2, "role": "oracle", "shape": [1]})
    client.lset("thread:{s}", 2, newer)  # type: ignore[arg-type]
    before = dump(client)
    for load in (
        lambda: store.load_thread("s"),
        lambda: store.load_tail("s", 3),
    ):
        with pytest.raises(SchemaTooNew, match="upgrade") as caught:
            load()
        assert (caught.value.found, caught.value.supported) == (2, 1)
    assert dump(client) == before
    assert [m.text for m in store.load_thread("s", start=3).messages] == ["message 3", "message 4"]


def test_unknown_fields_of_stored_messages_are_there_for_those_who_know_them(
    store: Store, client: redis.Redis, thread: list[bytes]
) -> None:
    record = store.serialize({"v": 1, "role": "user", "content": "x", "mood": {"n": 2**70}})
    client.lset("thread:{s}", 1, record)  # type: ignore[arg-type]
    message = store.load_thread("s").messages[1]
    assert message.extra == {"mood": {"n": 2**70}}
    store.append_to_thread("s", message)
    assert store.load_thread("s").messages[5].extra == message.extra


def test_what_cannot_be_read_of_an_event_is_told_counted_and_holds_nothing_up(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s")
    last = store.read_events("s")[-1].id
    milliseconds, number = map(int, last.split("-"))
    torn: list[tuple[dict[Any, Any], EventType | None]] = [
        ({"type": "turn_step", "turn": "t", "record": b'{"v":1,"role":'}, EventType.TOOL_RESULT),
        ({"type": "turn_resumed", "turn": "t", "record": b"x"}, EventType.TURN_STARTED),
        ({"type": "turn_failed", "turn": "t", "record": b"x"}, EventType.TURN_FAILED),
        ({"type": "of a later version"}, None),
    ]
    for place, (fields, _) in enumerate(torn, number + 1):
        client.xadd("events:{s}", fields, id=f"{milliseconds}-{place}")
    client.hincrby("metadata:{s}", "events", len(torn))
    found = store.read_events("s", last)
    assert [event.type for event in found] == [kind for _, kind in torn if kind] + [EventType.GAP]
    assert all("unreadable" in event.data for event in found[:-1])
    assert store.unreadable_records == len(torn)


def test_totals_that_are_no_numbers_are_told_with_their_key(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s")
    client.hset("metadata:{s}", "input_tokens", "many")
    with pytest.raises(RecordUnreadable, match=r"metadata:\{s\}"):
        store.usage(session_id="s")


@pytest.mark.parametrize("field", ["deadline", "message_count", "turns", "created_at"])
def test_a_session_whose_counters_are_no_numbers_is_in_no_list_and_fails_none(
    store: Store, client: redis.Redis, caplog: pytest.LogCaptureFixture, field: str
) -> None:
    for session_id in ("s", "sound"):
        store.create_session(session_id, user_id="ada")
    client.hset("metadata:{s}", field, "many")
    for user_id in (None, "ada"):
        assert [each["session_id"] for each in store.list_sessions(user_id)] == ["sound"]
    assert "session s is not listed" in caplog.text


def test_a_session_whose_counters_are_no_numbers_is_told_with_their_key(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s")
    client.hset("metadata:{s}", "created_at", "many")
    with pytest.raises(RecordUnreadable, match=r"metadata:\{s\}"):
        store.session_state("s")


def test_what_is_no_branch_among_those_of_a_session_is_passed_over(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("s")
    store.append_to_thread("s", [Message("user", "one")])
    branch = store.fork_session("s")
    lines = client.hget("ops:{s}", "branches")
    assert isinstance(lines, bytes)
    client.hset("ops:{s}", "branches", b"nonsense\n" + lines)
    assert [each["session_id"] for each in store.list_branches("s")] == [branch]
