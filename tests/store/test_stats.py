"""``store.stats()``: what a store is doing and did, without asking Redis."""

from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.models import UsageTotals
from miniagent_redis.store import usage
from tests.support.cluster import one_node
from tests.support.words import OpenStore

Store = RedisSessionManager


def test_a_store_that_did_nothing_has_no_connection() -> None:
    stats = RedisSessionManager(RedisConfig(url="redis://127.0.0.1:1")).stats()
    assert (stats.connections.in_use, stats.connections.idle, stats.connections.made) == (0, 0, 0)
    assert stats.client is None
    assert (stats.retries, stats.lost_replies, stats.watchers, stats.tenants) == (0, 0, 0, 0)


@one_node
def test_connections_of_commands_and_of_the_client_are_told_apart(store: Store) -> None:
    store.create_session("s")
    assert (store.stats().connections.idle, store.stats().client) == (1, None)
    store.parts.core.connections.client.ping()
    client = store.stats().client
    assert client is not None
    assert (client.idle, client.in_use, client.made) == (1, 0, 1)


def test_what_could_not_be_read_and_the_cache_are_counted(open_store: OpenStore) -> None:
    store = open_store()
    store.cache_get("k")
    store.cache_set("k", 1)
    store.cache_get("k")
    store.client.set(store.parts.core.keys.cache("k"), b"no record")
    store.cache_get("k")
    stats = store.stats()
    assert (stats.cache.hits, stats.cache.misses, stats.unreadable_records) == (1, 2, 1)
    assert stats.cache is store.cache_stats


def test_those_who_watch_are_counted_while_they_do(store: Store) -> None:
    store.create_session("s")
    first, second = (store.watch("s", "") for _ in range(2))
    assert store.stats().watchers == 0, "they begin at the first next()"
    next(first)
    next(second)
    assert (store.stats().watchers, store.stats().listening) == (2, 2)
    del first
    assert store.stats().watchers == 1
    del second
    assert (store.stats().watchers, store.stats().listening) == (0, 0)


def test_a_tenant_has_counts_of_its_own_on_the_connections_of_all(store: Store) -> None:
    acme = store.tenant("acme")
    store.tenant("beta")
    acme.cache_get("k")
    assert (store.stats().cache.misses, acme.stats().cache.misses) == (0, 1)
    assert store.stats().tenants == acme.stats().tenants == 2
    assert store.stats().connections == acme.stats().connections


def test_usage_that_nobody_can_count_any_more_is_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "_MOST_NOTED", 2)
    store.parts.usage.note(UsageTotals(turns=1), user_id="ada")
    assert store.stats().dropped_usage == 1


def test_it_cannot_be_changed_and_does_not_change(store: Store) -> None:
    before = store.stats()
    store.cache_get("k")
    assert before.cache.misses == 0
    with pytest.raises(FrozenInstanceError):
        before.retries = 1  # type: ignore[misc]
