"""fsck: what cannot be read, or does not belong together, is reported and stays."""

from __future__ import annotations

import pytest
import redis

from miniagent_redis import Message, RedisSessionManager, ToolCall
from miniagent_redis.doctor.fsck import check
from miniagent_redis.records.frame import encode
from miniagent_redis.records.messages import message_to_data
from tests.support.findings import METADATA, only, thread


def test_unreadable_records_are_reported_with_their_place_and_stay(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    size = len(thread(store)[1])
    client.lset("thread:{s}", 1, "x" * size)
    found = only(check(store, repair=True))
    assert (found.kind, found.key, found.repaired) == ("unreadable", "thread:{s}", False)
    assert found.problem.startswith("1 of 2 records cannot be read, the first at 1: its checksum")
    assert thread(store)[1] == b"x" * size

    store.clear_thread("s")
    store.begin_turn("s", "and")
    client.lset("turn:{s}", 0, "{")
    found = only(check(store, repair=True))
    assert (found.kind, found.key) == ("unreadable", "turn:{s}")


def test_an_unreadable_document_is_reported(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    deadline = client.pexpiretime("session:{s}")
    client.set("session:{s}", "nonsense", pxat=int(deadline))
    found = only(check(store))
    assert (found.kind, found.key, found.session_id) == ("unreadable", "session:{s}", "s")
    client.set("session:{s}", encode({"v": 1, "data": {}}), pxat=int(deadline))
    assert "it lacks agent_name, user_id" in only(check(store)).problem


def test_metadata_without_its_numbers_is_reported(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    client.hset(METADATA, "epoch", "x")
    client.hdel(METADATA, "bytes")
    found = only(check(store, repair=True))
    assert (found.kind, found.problem) == ("unreadable", "no number is in its fields epoch, bytes")


def test_records_of_a_newer_schema_are_reported_and_stay(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    record = encode({"v": 2, "role": "user", "content": "from the future"})
    client.lset("thread:{s}", 0, record)  # type: ignore[arg-type]
    found = {f.kind: f for f in check(store)}
    assert found["newer_schema"].hint == "upgrade miniagent-redis here"
    client.hset(METADATA, "schema", 2)
    found = {f.kind: f for f in check(store, repair=True)}
    assert list(found) == ["newer_schema"]
    assert found["newer_schema"].key == METADATA
    assert thread(store)[0] == record


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        (
            [Message("assistant", "", tool_calls=(ToolCall("c", "t"), ToolCall("d", "t")))],
            "the call in record 2 has no result, and 1 more",
        ),
        (
            [
                Message("assistant", "", tool_calls=(ToolCall("c", "t"),)),
                Message("user", "Well?"),
                Message("tool", "42", tool_call_id="c"),
            ],
            "the call in record 2 has no result, and 1 more",
        ),
        (
            [Message("tool", "42", tool_call_id="c")],
            "record 2 is a result without its call",
        ),
    ],
)
def test_dangling_tool_calls_are_reported(
    store: RedisSessionManager, client: redis.Redis, messages: list[Message], problem: str
) -> None:
    client.rpush("thread:{s}", *(encode({"v": 1, **message_to_data(m)}) for m in messages))
    found = only([f for f in check(store, repair=True) if f.kind == "dangling_call"])
    assert (found.problem, found.repaired) == (problem, False)
    assert len(thread(store)) == 2 + len(messages)


def test_a_foreign_type_at_a_key_is_reported_and_stays(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    client.delete("events:{s}")
    client.set("events:{s}", "mine")
    found = only(check(store, repair=True))
    assert (found.kind, found.key) == ("wrong_type", "events:{s}")
    assert client.get("events:{s}") == b"mine"
    client.delete("user:{ada}:sessions", "events:{s}")
    client.set("user:{ada}:sessions", "mine")
    found = only(check(store, repair=True))
    assert (found.kind, found.key) == ("wrong_type", "user:{ada}:sessions")


def test_leftovers_without_metadata_are_reported_and_stay(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    client.delete(METADATA)
    found = [f for f in check(store, repair=True) if f.kind != "orphan_entry"]
    assert {f.kind for f in found} == {"leftover"}
    assert {f.key for f in found} == {"session:{s}", "thread:{s}", "ops:{s}", "events:{s}"}
    assert len(thread(store)) == 2


def test_a_session_whose_document_was_evicted_is_reported(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    client.delete("session:{s}")
    found = only(check(store))
    assert (found.kind, found.key) == ("leftover", "session:{s}")
    assert "gone before its time" in found.problem
