"""fsck: counters that disagree with what they count are set right, and no message is touched."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.errors import RecordUnreadable
from miniagent_redis.runtime.clock import ManualClock
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


def trimmed(store_url: str, clock: ManualClock) -> RedisSessionManager:
    """Return a store whose session has let go of its oldest exchanges."""
    config = RedisConfig(url=store_url, max_session_size=5_000, on_full="trim")
    store = RedisSessionManager(config, clock=clock)
    for n in range(40):
        clock.advance(0.01)
        store.append_to_thread("s", Message("user", f"{n} " + "x" * 200))
    store.parts.index.flush()
    return store


def test_a_trimmed_session_is_in_order(
    store: RedisSessionManager, store_url: str, clock: ManualClock
) -> None:
    with trimmed(store_url, clock) as full:
        assert full.session_state("s").head > 0
        assert check(full) == []


@pytest.mark.parametrize("head", ["1", "no number", None])
def test_a_wrong_head_is_found_and_set_right(
    store: RedisSessionManager,
    store_url: str,
    clock: ManualClock,
    client: redis.Redis,
    head: str | None,
) -> None:
    with trimmed(store_url, clock) as full:
        before = thread(full)
        if head is None:
            client.hdel(METADATA, "head")
        else:
            client.hset(METADATA, "head", head)
        with pytest.raises(RecordUnreadable):
            full.load_thread("s")
        assert only(check(full)).kind == "counter"
        assert only(check(full, repair=True)).repaired
        assert check(full) == []
        assert thread(full) == before
        assert full.session_state("s").head == 0


def test_a_head_where_nothing_was_let_go_of_is_taken_out(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    client.hset(METADATA, "head", 1)
    assert only(check(store)).kind == "counter"
    assert only(check(store, repair=True)).repaired
    assert (check(store), client.hexists(METADATA, "head")) == ([], False)


def test_a_wrong_size_of_a_trimmed_session_is_set_right_where_it_is(
    store: RedisSessionManager, store_url: str, clock: ManualClock, client: redis.Redis
) -> None:
    with trimmed(store_url, clock) as full:
        before = full.session_state("s")
        client.hset(METADATA, "bytes", 1)
        assert only(check(full, repair=True)).repaired
        after = full.session_state("s")
        assert (after.head, after.bytes, after.epoch) == (before.head, before.bytes, before.epoch)
