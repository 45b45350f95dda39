"""fsck: each fault is found, what can be mended is mended, and no message is ever touched."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from miniagent_redis import Message, RedisConfig, RedisSessionManager, ToolCall
from miniagent_redis.clock import ManualClock
from miniagent_redis.codec import encode, message_to_data
from miniagent_redis.fsck import Finding, check
from miniagent_redis.keys import SHARDS

METADATA = "metadata:{s}"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(store_url: str, clock: ManualClock) -> Iterator[RedisSessionManager]:
    """Yield a store with one session of ada's that has a turn, all in order."""
    with RedisSessionManager(RedisConfig(url=store_url), clock=clock) as store:
        store.create_session("s", {"a": 1}, user_id="ada")
        store.commit_turn(store.begin_turn("s", "Hi"), [Message("assistant", "Hello!")])
        store.flush_marks()
        assert check(store) == []
        yield store


@pytest.fixture
def client(store: RedisSessionManager) -> redis.Redis:
    return store.client


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def thread(store: RedisSessionManager) -> list[bytes]:
    return list(store.client.lrange("thread:{s}", 0, -1))  # type: ignore[arg-type]


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
    epoch, version = client.hmget(METADATA, "epoch", "version")  # type: ignore[misc]
    store.append_to_thread("s", Message("user", "more"))
    keys = store.keys.of_session("s")
    arguments = ("", 3_600_000, "", "0" * 32, epoch, version, 2, 10)
    assert store.scripts.run("repair_counters", keys, arguments) == ["ok", 0]
    assert check(store) == []


@pytest.mark.parametrize("key", ["session:{s}", "thread:{s}", METADATA, "ops:{s}", "events:{s}"])
def test_a_key_without_a_ttl_or_with_one_too_short_gets_the_sessions_deadline(
    store: RedisSessionManager, client: redis.Redis, key: str
) -> None:
    right = client.pexpiretime(key)
    client.persist(key)
    found = only(check(store))
    assert (found.kind, found.key, found.problem) == ("expiry", key, "it has no TTL")
    assert only(check(store, repair=True)).repaired
    assert client.pexpiretime(key) == right

    client.expire(key, 100)
    found = only(check(store))
    assert (found.kind, found.key) == ("expiry", key)
    assert found.problem == "it expires before its session does"
    assert only(check(store, repair=True)).repaired
    assert client.pexpiretime(key) == right


def test_what_a_session_left_behind_without_a_ttl_goes_an_hour_later_and_not_at_once(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    client.delete("session:{s}")
    client.persist("thread:{s}")
    clock.advance(7200)
    found = [finding for finding in check(store, repair=True) if finding.kind == "expiry"]
    assert only(found).key == "thread:{s}"
    assert len(thread(store)) == 2
    assert client.pexpiretime("thread:{s}") == round(clock.time() * 1000) + 3_600_000


def test_other_keys_that_would_stay_for_ever_are_reported(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    store.cache_set("weather", "fine")
    assert check(store) == []
    client.persist("cache:weather")
    client.set("lock:{job}", "x")
    found = check(store, repair=True)
    assert sorted((f.key, f.kind, f.repaired) for f in found) == [
        ("cache:weather", "expiry", False),
        ("lock:{job}", "expiry", False),
    ]
    assert "EXPIRE" in found[0].hint


def test_an_index_entry_without_a_session_is_taken_out_once_it_is_a_minute_old(
    store: RedisSessionManager, client: redis.Redis, clock: ManualClock
) -> None:
    now = round(clock.time() * 1000)
    shard = store.keys.shard("gone")
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
    shard = store.keys.shard("s")
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
    deadline = client.zscore(f"deadlines:{{{store.keys.shard('s')}}}", "s")
    assert deadline == round(store.session_state("s").expires_at * 1000)


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
    client.set("session:{s}", "nonsense", pxat=int(deadline))  # type: ignore[arg-type]
    found = only(check(store))
    assert (found.kind, found.key, found.session_id) == ("unreadable", "session:{s}", "s")
    client.set("session:{s}", encode({"v": 1, "data": {}}), pxat=int(deadline))  # type: ignore[arg-type]
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
    client.lset("thread:{s}", 0, record)
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


def test_the_open_call_of_a_turn_that_runs_is_no_fault(store: RedisSessionManager) -> None:
    turn = store.begin_turn("s", "Go")
    store.stage_step(turn, [Message("assistant", "", tool_calls=(ToolCall("c", "t"),))])
    assert check(store) == []


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


def test_a_turn_is_stuck_ten_minutes_after_its_lease(
    store: RedisSessionManager, clock: ManualClock
) -> None:
    store.begin_turn("s", "Hello?")
    clock.advance(30 + 599)
    assert check(store) == []
    clock.advance(2)
    found = only(check(store))
    assert (found.kind, found.problem) == (
        "stuck_turn",
        "its open turn has had no holder for 10 minutes",
    )


def test_only_the_own_namespace_is_looked_at(store_url: str, store: RedisSessionManager) -> None:
    store.client.hset(METADATA, "bytes", 1)
    with RedisSessionManager(RedisConfig(url=store_url, namespace="acme")) as acme:
        acme.create_session("s", user_id="ada")
        acme.client.persist("acme:thread:{s}")
        acme.client.persist("acme:ops:{s}")
        acme.client.set("lock:acme:{job}", "x")
        assert sorted(f.key for f in check(acme)) == ["acme:ops:{s}", "lock:acme:{job}"]
        assert [f.key for f in check(store)] == [METADATA]


def test_work_that_goes_on_meanwhile_is_no_fault_and_loses_nothing(redis_url: str) -> None:
    config = RedisConfig(url=redis_url)

    def work() -> None:
        with RedisSessionManager(config) as busy:
            for number in range(150):
                busy.commit_turn(busy.begin_turn("s", "Hi"), [Message("assistant", str(number))])
                busy.create_session(f"t{number}", user_id="ada")
                busy.begin_turn(f"t{number}", "Hi")
                if number % 2:
                    busy.clear_thread(f"t{number}")
                    busy.delete_session(f"t{number}")

    with RedisSessionManager(config) as store, ThreadPoolExecutor() as pool:
        store.create_session("s", user_id="ada")
        working = pool.submit(work)
        looks = 0
        while not working.done():
            assert check(store, repair=True) == []
            looks += 1
        working.result()
        assert looks > 1
        assert store.session_state("s").message_count == 300
        assert len(store.list_sessions("ada", limit=1000)) == 76


def test_many_sessions_and_long_threads_are_gone_through_to_their_ends(
    store: RedisSessionManager, client: redis.Redis
) -> None:
    for number in range(300):
        store.create_session(f"s{number}", user_id="ada")
    store.append_to_thread("s7", [Message("user", str(number)) for number in range(2500)])
    assert check(store) == []
    client.lset("thread:{s7}", 2499, thread(store)[0])
    assert [f.kind for f in check(store)] == ["counter"]
