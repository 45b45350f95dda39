"""The cache: values by any name, gone at their time, and never in the way."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from talk import OpenStore

from miniagent_redis.errors import InvalidInput
from miniagent_redis.store.manager import RedisSessionManager

Store = RedisSessionManager


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
    assert 98_000 < client.pttl("cache:k") <= 100_000  # type: ignore[operator]
    store.cache_set("k", 1, ttl=0.5)
    assert 0 < client.pttl("cache:k") <= 500  # type: ignore[operator]


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
