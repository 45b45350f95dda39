"""fsck: counters that disagree with what they count are set right, and no message is touched."""

from __future__ import annotations

from typing import Any

import redis

from miniagent_redis import Message, RedisSessionManager
from miniagent_redis.doctor.fsck import check
from tests.support.findings import METADATA, only, thread


def test_counters_that_disagree_with_the_thread_are_set_right(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    before, state = thread(store), store.session_state("s")
    client.hset(METADATA, mapping={"message_count": 7, "bytes": 1})
    found = only(check(store))
    assert (found.kind, found.session_id, found.key) == ("counter", "s", METADATA)
    assert found.problem.startswith("it counts 7 messages of 1 bytes, and the thread has 2 of ")
    assert not found.repaired
    assert only(check(store, repair=True)).repaired
    assert check(store) == []
    assert thread(store) == before
    after = store.session_state("s")
    assert (after.message_count, after.bytes) == (2, state.bytes)
    assert after.expires_at == state.expires_at


def test_a_thread_that_lost_messages_can_be_read_again_and_by_instances_that_knew_it(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    known = store.load_thread("s")
    client.rpop("thread:{s}")
    found = only(check(store))
    assert (found.kind, found.problem.endswith(": the others are lost")) == ("counter", True)
    assert found.hint.startswith("restore a backup; ")
    assert only(check(store, repair=True)).repaired
    store.append_to_thread("s", Message("user", "again"))
    new = store.load_thread("s", epoch=known.epoch, start=known.count)
    assert [message.text for message in new.messages] == ["Hi", "again"]
    assert new.start == 0


def test_counters_that_are_right_again_are_left_alone(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    """The script looks again: what it was told may be old."""
    read: Any = client.hmget(METADATA, "epoch", "version")
    store.append_to_thread("s", Message("user", "more"))
    keys = store.parts.core.keys.of_session("s")
    arguments = ("", 3_600_000, "", "0" * 32, *read, 2, 10)
    assert store.parts.core.scripts.run("repair_counters", keys, arguments) == ["ok", 0]
    assert check(store) == []
