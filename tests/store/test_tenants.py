"""Tenants: one store for many namespaces, which know nothing of each other."""

from __future__ import annotations

import pytest
import redis

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.words import OpenStore

Store = RedisSessionManager
LIMIT = 20.0  # seconds


def keys_of(client: redis.Redis) -> set[str]:
    return {key.decode() for key in client.scan_iter()}


def fill(store: Store) -> None:
    store.create_session("s", {"of": store.config.namespace}, user_id="ada")
    turn = store.begin_turn("s", "Hello")
    store.commit_turn(turn, [Message("assistant", "Hi")], spent=UsageTotals(turns=1))
    store.parts.usage.note(UsageTotals(turns=1), user_id="ada")
    store.cache_set("k", store.config.namespace)
    assert store.rate_limit("ada", max_requests=1)
    store.parts.usage.flush()
    store.parts.index.flush()


def test_a_tenant_sees_nothing_of_the_others(store: Store) -> None:
    acme, beta = store.tenant("acme"), store.tenant("beta")
    for each in (store, acme, beta):
        fill(each)
    for each in (store, acme, beta):
        assert each.get_session("s") == {"of": each.config.namespace}
        assert len(each.list_sessions()) == len(each.list_sessions("ada")) == 1
        assert each.usage().turns == 1
        assert each.cache_get("k") == each.config.namespace
        assert not each.rate_limit("ada", max_requests=1)
    assert acme.delete_session("s")
    assert store.get_session("s") is not None
    assert beta.get_session("s") is not None


def test_every_key_of_a_tenant_begins_with_its_name(store: Store, client: redis.Redis) -> None:
    fill(store.tenant("acme"))
    assert {key for key in keys_of(client) if not key.startswith("acme:")} == set()


def test_a_tenant_is_the_same_as_a_store_of_that_namespace(
    store: Store, open_store: OpenStore
) -> None:
    other = open_store(namespace="acme")
    fill(store.tenant("acme"))
    assert other.get_session("s") == {"of": "acme"}
    assert other.load_thread("s").count == 2


def test_asked_for_twice_it_is_the_same_tenant(store: Store) -> None:
    acme = store.tenant("acme")
    assert store.tenant("acme").parts is acme.parts
    assert acme.tenant("").parts is store.parts
    assert acme.tenant("beta").parts is store.tenant("beta").parts


@pytest.mark.parametrize("name", ["a b", "a:b", "{a}", "x" * 65, "é", None, 5])
def test_what_is_no_namespace_is_no_tenant(store: Store, name: object) -> None:
    with pytest.raises(InvalidInput, match="namespace"):
        store.tenant(name)  # type: ignore[arg-type]


def test_a_thousand_tenants_cost_no_connection(real_store: Store) -> None:
    real_store.create_session("s")
    before = real_store.client.info("clients")["connected_clients"]
    for n in range(1000):
        fill(real_store.tenant(f"tenant-{n}"))
    assert real_store.client.info("clients")["connected_clients"] == before
    for n in (0, 500, 999):
        assert real_store.tenant(f"tenant-{n}").usage().turns == 1


def test_every_channel_of_a_tenant_begins_with_its_name(real_store: Store) -> None:
    ours: set[bytes] = set()
    with real_store.client.pubsub() as listener:
        listener.psubscribe("*")
        assert listener.get_message(timeout=LIMIT)
        for name in ("acme", "beta"):
            tenant = real_store.tenant(name)
            fill(tenant)
            tenant.publish("news", "x")
            assert tenant.lock("l").acquire()
            assert tenant.delete_session("s")
        real_store.client.publish("the end", "")
        while (told := listener.get_message(timeout=LIMIT)) and told["channel"] != b"the end":
            ours.add(told["channel"].partition(b":")[0])
    assert told
    assert ours == {b"acme", b"beta"}


def test_what_tenants_have_noted_is_written_when_the_store_disconnects(
    store: Store, open_store: OpenStore
) -> None:
    acme = store.tenant("acme")
    acme.create_session("s")
    acme.parts.usage.note(UsageTotals(turns=1))
    assert acme.acquire_lock("l")
    acme.disconnect()
    assert store.parts.core.connections.is_open
    acme.parts.usage.note(UsageTotals(turns=1))
    store.disconnect()
    other = open_store(namespace="acme")
    assert other.usage().turns == 2
    assert not other.is_locked("l")
