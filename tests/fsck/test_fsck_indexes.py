"""fsck: the indexes list each session that is there, and none that is not."""

from __future__ import annotations

import redis

from miniagent_redis import RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import SHARDS
from tests.support.findings import only


def test_an_index_entry_without_a_session_is_taken_out_once_it_is_a_minute_old(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    now = round(clock.time() * 1000)
    shard = store.parts.core.keys.shard("gone")
    indexes = {f"sessions:{{{shard}}}", f"deadlines:{{{shard}}}", "user:{bo}:sessions"}
    for index in indexes:
        client.zadd(index, {"gone": now})
    assert check(store) == []
    clock.advance(61)
    found = check(store)
    assert {(f.kind, f.session_id) for f in found} == {("orphan_entry", "gone")}
    assert {f.key for f in found} == indexes
    assert all(f.repaired for f in check(store, repair=True))
    assert check(store) == []
    assert [client.zscore(index, "gone") for index in indexes] == [None] * 3
    assert len(store.list_sessions()) == 1


def test_an_entry_in_the_index_of_another_user_is_taken_out(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    client.zadd("user:{bo}:sessions", {"s": 1})
    clock.advance(61)
    found = only(check(store, repair=True))
    assert (found.kind, found.key, found.repaired) == ("orphan_entry", "user:{bo}:sessions", True)
    assert len(store.list_sessions("ada")) == 1


def test_an_entry_stays_as_long_as_the_thread_of_its_session_can_be_read(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    client.delete("session:{s}")
    clock.advance(3601)
    assert check(store, repair=True) == []
    shard = store.parts.core.keys.shard("s")
    assert client.zscore(f"deadlines:{{{shard}}}", "s") is not None


def test_a_session_that_is_missing_in_the_indexes_is_entered_again(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    for shard in range(SHARDS):
        client.delete(f"sessions:{{{shard}}}", f"deadlines:{{{shard}}}")
    client.delete("user:{ada}:sessions")
    assert store.list_sessions() == []
    found = check(store)
    assert [f.kind for f in found] == ["not_indexed"] * 3
    assert all(f.repaired for f in check(store, repair=True))
    assert check(store) == []
    assert len(store.list_sessions("ada")) == len(store.list_sessions()) == 1
    deadline = client.zscore(f"deadlines:{{{store.parts.core.keys.shard('s')}}}", "s")
    assert deadline == round((store.session_state("s").expires_at or 0) * 1000)
