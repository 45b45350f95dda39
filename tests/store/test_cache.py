"""The cache: values by any name, gone at their time, and never in the way."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.cache import CacheStats
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.servers import RedisServer
from tests.support.words import OpenStore, until

Store = RedisSessionManager
LIMIT = 20  # seconds: generous, for what a right program does at once


@pytest.mark.parametrize(
    "value", [None, 0, "", [], {}, False, "text \ud800\x00", 2**70, 0.1, [{"a": [None]}]], ids=repr
)
def test_a_value_comes_back_as_it_is(store: Store, value: Any) -> None:
    store.cache_set("k", value)
    assert repr(store.cache_get("k", "absent")) == repr(value)


def test_what_is_not_cached_is_the_default(store: Store) -> None:
    assert store.cache_get("k") is None
    assert store.cache_get("k", 7) == 7
    store.cache_set("k", None)
    assert store.cache_get("k", 7) is None


def test_a_deleted_value_is_gone(store: Store) -> None:
    store.cache_set("k", 1)
    assert store.cache_delete("k")
    assert not store.cache_delete("k")
    assert store.cache_get("k") is None


@pytest.mark.parametrize("key", ["{}*", "a b\n", "\ud800", "é" * 1000, "x" * 10_000, "a:b"])
def test_any_text_is_a_key(store: Store, key: str) -> None:
    store.cache_set(key, key)
    store.cache_set(key + "x", 0)
    assert store.cache_get(key) == key
    assert store.cache_delete(key)
    assert store.cache_get(key + "x") == 0


def test_a_value_expires(store: Store, client: redis.Redis) -> None:
    store.cache_set("k", 1, ttl=100)
    assert 98_000 < client.pttl("cache:k") <= 100_000
    store.cache_set("k", 1, ttl=0.5)
    assert 0 < client.pttl("cache:k") <= 500


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "60", None, True])
def test_a_bad_ttl_is_refused(store: Store, ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        store.cache_set("k", 1, ttl)
    assert store.cache_get("k") is None


@pytest.mark.parametrize("raw", [b"", b"junk", b"{}", b'{"v":1,"value":1,"crc":"00000000"}'])
def test_an_unreadable_value_counts_as_absent(
    store: Store, client: redis.Redis, raw: bytes
) -> None:
    client.set("cache:k", raw)
    assert store.cache_get("k", "default") == "default"
    assert store.unreadable_records == 1
    store.cache_set("k", 2)
    assert store.cache_get("k") == 2


def test_namespaces_have_caches_of_their_own(open_store: OpenStore) -> None:
    acme, other = open_store(namespace="acme"), open_store(namespace="other")
    acme.cache_set("k", 1)
    assert other.cache_get("k") is None
    assert not other.cache_delete("k")


# --- a value that many ask for --------------------------------------------------------------------


def test_a_value_is_computed_when_it_is_not_there(store: Store, client: redis.Redis) -> None:
    computed: list[int] = []

    def compute() -> list[int]:
        computed.append(1)
        return computed

    assert store.cache_get_or_set("k", compute, ttl=100) == [1]
    assert store.cache_get_or_set("k", compute) == [1]
    assert store.cache_get("k") == [1]
    assert computed == [1]
    assert 89_000 < client.pttl("cache:k") <= 100_000
    assert not client.keys("lock:*")


def test_none_is_a_value_too(store: Store) -> None:
    assert store.cache_get_or_set("k", lambda: None) is None
    assert store.cache_get_or_set("k", lambda: 1) is None


def test_entries_made_together_do_not_end_together(store: Store, client: redis.Redis) -> None:
    for number in range(40):
        store.cache_get_or_set(f"k{number}", int, ttl=1000)
    ends = [client.pttl(f"cache:k{number}") for number in range(40)]
    assert all(899_000 < end <= 1_000_000 for end in ends)
    assert max(ends) - min(ends) > 30_000


def test_an_async_function_can_compute(store: Store) -> None:
    async def compute() -> str:
        return "value"

    assert store.cache_get_or_set("k", compute) == "value"
    assert store.cache_get("k") == "value"


def test_an_error_is_not_cached_and_frees_the_others(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        store.cache_get_or_set("k", lambda: 1 / 0)
    assert store.cache_get_or_set("k", lambda: 2) == 2


@pytest.mark.parametrize("value", [object, float("nan"), {1: 2}, b""], ids=repr)
def test_what_is_no_json_is_refused(store: Store, value: object) -> None:
    with pytest.raises(InvalidInput, match="the value"):
        store.cache_get_or_set("k", lambda: value)
    assert store.cache_get_or_set("k", lambda: 2) == 2


@pytest.mark.parametrize(
    "options", [{"ttl": 0}, {"timeout": "1"}, {"timeout": float("nan")}, {"lock_ttl": 1}], ids=repr
)
def test_a_bad_time_is_refused_before_anything_is_computed(
    store: Store, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        store.cache_get_or_set("k", pytest.fail, **options)


def test_a_key_is_a_text(store: Store) -> None:
    with pytest.raises(InvalidInput, match="cache key"):
        store.cache_get_or_set("", pytest.fail)


def test_of_many_threads_one_computes(open_store: OpenStore) -> None:
    """The one goes on when another waits; all get its value."""
    first, second = open_store(), open_store()
    asked = threading.Event()
    computed: list[int] = []

    def compute() -> str:
        computed.append(1)
        assert asked.wait(LIMIT)
        return "value"

    def get(number: int) -> Any:
        if number == 15:
            until(lambda: computed)
            asked.set()
        return (first, second)[number % 2].cache_get_or_set("k", compute)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(get, range(16))) == {"value"}
    assert len(computed) == 1
    done = [one.cache_stats for one in (first, second)]
    assert (sum(s.hits for s in done), sum(s.misses for s in done)) == (15, 1)


def test_one_that_fails_wakes_those_who_wait(store: Store, client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(store.parts.core.keys.cache("k"))
        with pytest.raises(ZeroDivisionError):
            store.cache_get_or_set("k", lambda: 1 / 0)
        until(lambda: heard.get_message() is not None)


def test_a_waiter_takes_over_from_one_that_fails(store: Store) -> None:
    waits, computing = threading.Event(), threading.Event()

    def fail() -> None:
        computing.set()
        assert waits.wait(LIMIT)
        raise OSError("broken")

    def get() -> Any:
        assert computing.wait(LIMIT)
        waiting = store.parts.flights.flight("k", check=waits.set)
        with waiting as flight:
            flight.keep("mine", 60)
            return flight.is_hit

    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(get)
        with pytest.raises(OSError, match="broken"):
            store.cache_get_or_set("k", fail)
        assert waiter.result(LIMIT) is False
    assert store.cache_get("k") == "mine"


def test_a_waiter_takes_over_when_the_lock_of_a_dead_process_expires(real_store: Store) -> None:
    dead = real_store.parts.flights.flight("k", lock_ttl=2)
    assert not dead.__enter__().is_hit
    began = time.monotonic()
    assert real_store.cache_get_or_set("k", lambda: "mine") == "mine"
    assert time.monotonic() - began > 1.5


def test_who_has_waited_long_enough_computes(real_store: Store) -> None:
    with real_store.parts.flights.flight("k") as slow:
        assert real_store.cache_get_or_set("k", lambda: "mine", timeout=0.3) == "mine"
        assert real_store.cache_get_or_set("k", pytest.fail, timeout=0) == "mine"
        slow.keep("slow", 60)
    assert real_store.cache_get("k") == "slow"


def test_who_wants_the_value_no_more_stops_waiting(store: Store) -> None:
    def leave() -> None:
        raise InterruptedError

    with store.parts.flights.flight("k") as first:
        flights = store.parts.flights
        with pytest.raises(InterruptedError), flights.flight("k", check=leave):
            pytest.fail("it did not wait")
        first.keep(1, 60)
    assert store.cache_get("k") == 1


def test_what_a_hit_saved_is_told(store: Store, clock: ManualClock) -> None:
    def compute() -> int:
        clock.advance(7)
        return 1

    store.cache_get_or_set("k", compute)
    for _ in range(2):
        store.cache_get_or_set("k", compute)
    store.cache_get("k")
    store.cache_get("other")
    assert store.cache_stats == CacheStats(hits=3, misses=2, failures=0, saved_seconds=21)


def test_a_lock_of_that_name_is_not_in_the_way(store: Store) -> None:
    with store.lock("%cache:k"), store.lock("cache:k"), store.lock("k"):
        assert store.cache_get_or_set("k", lambda: 1, timeout=None) == 1


def test_without_redis_the_value_is_computed() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.cache_set("k", "cached")
        server.kill()
        assert store.cache_get_or_set("k", lambda: "computed") == "computed"
        assert store.cache_stats == CacheStats(misses=1, failures=2)
        with pytest.raises(ZeroDivisionError):
            store.cache_get_or_set("k", lambda: 1 / 0)


def test_a_value_is_kept_when_redis_is_back_by_then() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.connect()
        server.kill()

        def compute() -> str:
            server.start()
            return "computed"

        assert store.cache_get_or_set("k", compute) == "computed"
        assert store.cache_get_or_set("k", pytest.fail) == "computed"


def test_a_waiter_computes_when_redis_goes_away() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        with store.parts.flights.flight("k"):
            waiting = store.parts.flights.flight("k", check=server.kill)
            with waiting:
                assert not waiting.is_hit
        assert store.cache_stats.failures >= 1


def test_a_foreign_value_under_our_key_is_left_alone(store: Store, client: redis.Redis) -> None:
    client.lpush("cache:k", "foreign")
    assert store.cache_get_or_set("k", lambda: 1) == 1
    assert client.type("cache:k") == b"list"


def test_who_computes_and_dies_keeps_the_others_waiting_for_five_seconds(real_store: Store) -> None:
    with real_store.parts.flights.flight("k"):
        client: Any = real_store.client
        (lock,) = client.keys("lock:*")
        assert 0 < client.pttl(lock) <= 5000
