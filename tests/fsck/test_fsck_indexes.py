"""fsck: the indexes list each session that is there, and none that is not."""

from __future__ import annotations

import redis

from miniagent_redis import Message, RedisSessionManager, ToolCall
from miniagent_redis.doctor.fsck import check
from miniagent_redis.models import WaitingCall
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


def test_an_entry_of_a_turn_that_is_over_is_taken_out_if_nobody_has_looked_for_a_minute(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    index = store.parts.core.keys.turns(store.parts.core.keys.shard("s"))
    store.parts.recovery.ask("s")
    clock.advance(60)
    assert check(store) == []
    clock.advance(60)
    found = only(check(store))
    assert (found.kind, found.key, found.session_id) == ("orphan_entry", index, "s")
    assert found.problem == "it lists a session that has no open turn"
    assert only(check(store, repair=True)).repaired
    assert client.zscore(index, "s") is None
    assert check(store) == []


def test_an_entry_of_a_turn_that_was_cleared_while_it_waited_is_taken_out(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    client.zadd(store.parts.core.keys.turns(store.parts.core.keys.shard("s")), {"s": "+inf"})
    assert only(check(store, repair=True)).repaired
    assert check(store) == []


def test_an_entry_of_an_open_turn_stays(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    store.begin_turn("s", "Hello?")
    store.parts.recovery.ask("s")
    clock.advance(300)
    assert check(store, repair=True) == []
    index = store.parts.core.keys.turns(store.parts.core.keys.shard("s"))
    assert client.zscore(index, "s") is not None


def park(store: RedisSessionManager) -> None:
    call = ToolCall("c1", "locate", {})
    turn = store.begin_turn("s", "Where am I?", user_id="ada")
    turn = store.stage_step(turn, [Message("assistant", "", tool_calls=(call,))])
    store.parts.parking.park_turn(turn, [WaitingCall.of(call, "result")])
    store.parts.index.flush()


def test_a_turn_that_waits_is_in_order(store: RedisSessionManager, clock: ManualClock) -> None:
    park(store)
    clock.advance(3000)
    assert check(store) == []


def test_a_turn_that_waits_and_is_not_listed_is_entered_again(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    park(store)
    keys = store.parts.core.keys
    indexes = {keys.waiting(keys.shard("s")), "user:{ada}:waiting"}
    client.delete(*indexes)
    assert list(store.parts.parking.list_waiting("ada")) == []
    found = check(store)
    assert {(f.kind, f.key) for f in found} == {("not_indexed", index) for index in indexes}
    assert all(f.repaired for f in check(store, repair=True))
    assert check(store) == []
    for user in ("ada", None):
        assert [one["session_id"] for one in store.parts.parking.list_waiting(user)] == ["s"]


def test_an_entry_of_a_turn_that_does_not_wait_is_taken_out_once_it_is_a_minute_old(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    keys = store.parts.core.keys
    indexes = {keys.waiting(keys.shard("s")), "user:{ada}:waiting", "user:{bo}:waiting"}
    for index in indexes:
        client.zadd(index, {"s": clock.time() * 1000})
    assert check(store) == []
    clock.advance(61)
    found = check(store)
    assert {(f.kind, f.key) for f in found} == {("orphan_entry", index) for index in indexes}
    assert {f.problem for f in found} == {"it lists a session whose turn does not wait"}
    assert all(f.repaired for f in check(store, repair=True))
    assert check(store) == []
    assert client.exists(*indexes) == 0


def test_an_entry_among_those_that_wait_of_another_user_is_taken_out(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    park(store)
    client.zadd("user:{bo}:waiting", {"s": 1})
    assert only(check(store, repair=True)).key == "user:{bo}:waiting"
    assert len(store.parts.parking.list_waiting("ada")) == 1
