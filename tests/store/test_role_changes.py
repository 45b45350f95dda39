"""The primary behind an address becomes a replica, and the address leads to its successor.

Nobody is cut off: every connection that was there leads to the old one, which goes on answering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from miniagent_redis import StoreMisconfigured, StoreUnavailable, aio
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.pool import Pool
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.coroutines import run
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until
from tests.support.words import lines, soon

X = Message("user", "x")


class Pair:
    """A primary, its replica, and an address in front of them that leads to the primary."""

    def __init__(self, old: RedisServer, new: RedisServer, address: Proxy) -> None:
        self.old, self.new, self.address = old, new, address
        self._follow(new, old)

    def fail_over(self) -> None:
        """Let the two change their roles once the replica has everything, and move the address."""
        old, new = self.old.client(), self.new.client()
        old.client_pause(int(LIMIT * 1000), all=False)  # writes wait, as in a planned failover
        until(lambda: _offset(old) == _offset(new))
        new.replicaof("NO", "ONE")
        self.address.upstream = self.new.socket
        old.replicaof("127.0.0.1", self.new.port)
        old.client_unpause()

    def _follow(self, replica: RedisServer, primary: RedisServer) -> None:
        client: Any = replica.client()
        client.replicaof("127.0.0.1", primary.port)
        until(lambda: client.info("replication").get("master_link_status") == "up")


def _offset(client: Any) -> int:
    found = client.info("replication")
    return int(found["slave_repl_offset" if found["role"] == "slave" else "master_repl_offset"])


@pytest.fixture
def pair() -> Iterator[Pair]:
    fast = ("--repl-diskless-sync-delay", "0")
    old, new = RedisServer(*fast, tcp=True), RedisServer(*fast, tcp=True)
    with old, new, Proxy(old.socket) as address:
        yield Pair(old, new, address)


@pytest.fixture
def store(pair: Pair) -> Iterator[Store]:
    with Store(RedisConfig(url=pair.address.url)) as opened:
        opened.create_session("s")
        yield opened


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def proxied(server: RedisServer) -> Iterator[tuple[Proxy, Store]]:
    with Proxy(server.socket) as proxy, Store(RedisConfig(url=proxy.url)) as opened:
        opened.create_session("s")
        yield proxy, opened


def names_of(server: RedisServer, kind: str = "normal") -> set[str]:
    """Return the ids of the clients that a server has."""
    admin: Any = server.client()
    return {one["id"] for one in admin.client_list(_type=kind)} - {str(admin.client_id())}


def hold(pool: Pool, number: int) -> list[Any]:
    return [pool.take() for _ in range(number)]


# --- commands -----------------------------------------------------------------------------------


def test_a_write_goes_to_the_successor_though_all_connections_lead_to_the_old_one(
    pair: Pair, store: Store
) -> None:
    pool = store.parts.core.connections.pool
    held = hold(pool, 5)
    for link in held[1:]:
        pool.give(link, in_order=True)
    pair.fail_over()
    store.append_to_thread("s", X)
    assert lines(store) == ["user:x"]
    pool.give(held[0], in_order=True)
    assert pool.figures().idle == 1
    assert store.parts.core.connections.availability.current().state == "healthy"


def test_one_given_back_in_the_very_moment_is_not_handed_on() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        pool = store.parts.core.connections.pool
        link = pool.take()
        pool.renew()
        pool._idle.append(link)  # by a thread that had looked at its generation just before
        assert pool.take() is not link


def test_the_users_own_client_leaves_the_old_one_too(pair: Pair, store: Store) -> None:
    client: Any = store.client
    assert client.set("mine", 1)
    held = hold(client.connection_pool.pool, 3)
    for link in held[1:]:
        client.connection_pool.release(link)
    pair.fail_over()
    with pytest.raises(redis.ReadOnlyError):
        client.set("mine", 2)
    client.connection_pool.release(held[0])
    for number in range(4):
        assert client.set("mine", number)


def test_the_asyncio_client_leaves_the_old_one_whatever_else_it_replied(pair: Pair) -> None:
    async def main() -> None:
        async with aio.RedisSessionManager(RedisConfig(url=pair.address.url)) as store:
            client: Any = store.client
            await client.set("mine", "text")
            await asyncio.to_thread(pair.fail_over)
            async with client.pipeline(transaction=False) as several:
                several.set("mine", "more").lpush("mine", 1).llen("mine")
                told = await several.execute(raise_on_error=False)
            assert [type(one) for one in told[::2]] == [redis.ReadOnlyError, redis.ResponseError]
            assert await client.set("mine", "more")

    run(main())


def test_the_users_own_client_leaves_the_old_one_when_the_store_is_told(
    pair: Pair, store: Store
) -> None:
    client: Any = store.client
    assert client.set("mine", 1)
    pair.fail_over()
    store.append_to_thread("s", X)
    assert client.set("mine", 2)


@pytest.mark.parametrize(
    "refusal",
    [
        "READONLY You can't write against a read only replica.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "NOREPLICAS Not enough good replicas to write.",
        "UNBLOCKED force unblock from blocking operation, instance state changed",
        "CLUSTERDOWN The cluster is down",
    ],
    ids=lambda text: text.split()[0],
)
def test_what_was_refused_goes_over_a_new_connection(
    proxied: tuple[Proxy, Store], refusal: str
) -> None:
    proxy, store = proxied
    before = store.parts.core.connections.figures().commands.made
    proxy.answer(f"-{refusal}\r\n")
    store.append_to_thread("s", X)
    assert store.parts.core.connections.figures().commands.made == before + 1
    proxy.answer(f"-{refusal}\r\n", times=10**6)
    error = soon(StoreUnavailable, lambda: store.append_to_thread("s", X))
    assert refusal.partition(" ")[2] in error.cause


def test_a_connection_that_is_not_let_in_any_more_is_not_kept(
    proxied: tuple[Proxy, Store],
) -> None:
    proxy, store = proxied
    proxy.answer("-NOAUTH Authentication required.\r\n")
    before = store.parts.core.connections.figures().commands.made
    with pytest.raises(StoreMisconfigured):
        store.append_to_thread("s", X)
    store.append_to_thread("s", X)
    assert store.parts.core.connections.figures().commands.made == before + 1


def test_a_call_does_not_go_through_all_connections_that_were_ended(
    proxied: tuple[Proxy, Store],
) -> None:
    proxy, store = proxied
    connections = store.parts.core.connections
    for link in hold(connections.pool, 40):
        link.ask([("PING",)], lambda *_: False)
        connections.pool.give(link, in_order=True)
    before = connections.figures().retries
    proxy.cut()
    store.append_to_thread("s", X)
    assert connections.figures().retries - before <= 1


# --- listening ----------------------------------------------------------------------------------


def test_listeners_follow_to_the_successor(pair: Pair, store: Store) -> None:
    with ThreadPoolExecutor() as pool:
        store.subscribe(["news"])
        watcher, messages = store.watch("s", "", LIMIT), store.get_messages(LIMIT)
        next(watcher)
        heard = pool.submit(next, watcher), pool.submit(next, messages)
        assert names_of(pair.old, "pubsub")
        pair.fail_over()
        pair.old.client().replicaof("127.0.0.1", 1)  # and the old one hears no more of anything
        store.append_to_thread("s", X)
        until(lambda: names_of(pair.new, "pubsub"))
        assert not names_of(pair.old, "pubsub")
        until(lambda: pair.new.client().publish("news", 1))
        assert heard[0].result(LIMIT).type.value == "message_added"
        assert heard[1].result(LIMIT)["data"] == 1


def test_a_listener_leaves_a_server_that_answers_its_question_by_a_refusal(pair: Pair) -> None:
    pair.old.client().config_set("replica-serve-stale-data", "no")
    config = RedisConfig(url=pair.address.url, health_check_interval=0.6)
    with Store(config) as store, ThreadPoolExecutor() as pool:
        store.subscribe(["news"])
        heard = pool.submit(next, store.get_messages(LIMIT))
        pair.fail_over()
        pair.old.client().replicaof("127.0.0.1", 1)  # its link to the successor is down
        until(lambda: pair.new.client().publish("news", 1))
        assert heard.result(LIMIT)["data"] == 1


def test_a_listener_that_is_refused_in_passing_asks_again(
    proxied: tuple[Proxy, Store],
) -> None:
    proxy, store = proxied
    with ThreadPoolExecutor() as pool:
        store.subscribe(["news"])
        heard = pool.submit(next, store.get_messages(LIMIT))
        proxy.answer("-BUSY Redis is busy running a script.\r\n", matching="SUBSCRIBE")
        proxy.cut()
        until(lambda: proxy.lost)
        until(store.health_check)  # publish sends once, and the connection at hand was cut
        until(lambda: store.publish("news", 1))
        assert heard.result(LIMIT)["data"] == 1
