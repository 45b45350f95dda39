"""The connections of a store: how many, shared by whom, opened again, in either protocol."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import (
    StoreUnavailable,
)
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.scripts import source
from miniagent_redis.store.shared import get_redis_manager
from tests.support.proxy import Proxy
from tests.support.scripts import OPERATIONS
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.words import lines, said, soon

Store = RedisSessionManager


def test_all_connections_in_use_is_told_soon_and_over_when_one_is_free() -> None:
    config: dict[str, Any] = {"max_connections": 2, "socket_timeout": 20}
    with RedisServer() as server, Store(RedisConfig(url=server.url, **config)) as store:
        store.create_session("s")
        server.pause()
        threads = [threading.Thread(target=lambda: store.health_check()) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: all_taken(store))
        error = soon(StoreUnavailable, lambda: store.get_session("s"))
        assert "all 2 connections" in str(error)
        assert "max_connections" in error.hint
        server.resume()
        for thread in threads:
            thread.join()
        assert store.get_session("s") == {}


def all_taken(store: Store) -> bool:
    figures = store.parts.core.connections.figures().commands
    return figures.in_use == figures.most


def test_more_threads_than_connections_take_turns(redis_url: str) -> None:
    with Store(RedisConfig(url=redis_url, max_connections=2)) as store:
        store.create_session("s")
        failed: list[BaseException] = []

        def work(n: int) -> None:
            try:
                for i in range(20):
                    store.append_to_thread("s", Message("user", f"{n} {i}"))
            except BaseException as exc:
                failed.append(exc)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert store.session_state("s").message_count == 160


def test_disconnecting_during_an_outage_is_quiet_and_twice_is_fine() -> None:
    with RedisServer() as server:
        store = Store(RedisConfig(url=server.url))
        store.create_session("s")
        store.append_to_thread("s", Message("user", "x"))
        assert store.acquire_lock("held")
        store.subscribe(["c"])
        server.kill()
        store.disconnect()
        store.disconnect()
        assert not store.parts.core.connections.is_open


def test_a_store_opens_again_after_it_was_closed(redis_url: str) -> None:
    store = Store(RedisConfig(url=redis_url))
    store.create_session("s")
    store.disconnect()
    assert store.get_session("s") == {}
    assert store.client.ping()
    store.disconnect()


def test_the_older_protocol_gives_the_same_answers(redis_url: str) -> None:
    answers = []
    for protocol in (2, 3):
        with Store(RedisConfig(url=redis_url, protocol=protocol)) as store:
            store.client.flushdb()
            pool: Any = store.parts.core.connections.client.connection_pool
            assert pool.connection_kwargs["protocol"] == protocol
            store.create_session("s", {"a": 1}, user_id="ada")
            store.commit_turn(store.begin_turn("s", "one"), [said("1")])
            store.subscribe(["c"])
            store.publish("c", {"b": 2})
            store.cache_set("k", [1])
            with store.lock("k"):
                assert store.is_locked("k")
            answers.append(
                (
                    store.get_session("s"), lines(store), store.load_tail("s", 1).indexes,
                    [e["session_id"] for e in store.list_sessions()],
                    [e["session_id"] for e in store.list_sessions("ada")],
                    next(store.get_messages()), store.cache_get("k"), store.cache_get("no"),
                    store.check_rate_limit("k", 5), store.resolve_turn("s", "x"),
                    store.delete_session("s"),
                )
            )  # fmt: skip
    assert answers[0] == answers[1]


@pytest.mark.parametrize("password", [None, "right"])
@pytest.mark.parametrize(
    "reply",
    [
        "ERR unknown command 'HELLO', with args beginning with: '3' ",
        "ERR unknown command `hello`",
        "unsupported command 'hello'",
        "NOPROTO unsupported protocol version",
        "NOPERM this user has no permissions to run the 'hello' command",
    ],
)
def test_a_proxy_that_knows_only_the_older_protocol_is_spoken_to_in_that(
    reply: str, password: str | None
) -> None:
    wanted = () if password is None else ("--requirepass", password)
    with RedisServer(*wanted) as server, Proxy(server.socket) as proxy:
        proxy.answer(f"-{reply}\r\n", times=10**6, matching="HELLO")
        with Store(RedisConfig(url=proxy.url, password=password, protocol=3)) as store:
            store.subscribe(["c"])
            store.publish("c", 1)
            assert next(store.get_messages())["data"] == 1
            assert store.client.ping()
            before = proxy.lost
            assert before == 1  # it is found out once
            held = [store.parts.core.connections.pool.take() for _ in range(3)]
            assert proxy.lost == before
            for link in held:
                store.parts.core.connections.pool.give(link, in_order=True)


def test_a_proxy_that_knows_no_hello_is_not_asked(redis_server: RedisServer) -> None:
    with Proxy(redis_server.socket) as proxy:
        proxy.answer("-ERR unknown command 'HELLO'\r\n", times=10**6, matching="HELLO")
        with Store(RedisConfig(url=proxy.url, client_name="web")) as store:
            assert store.client.ping()
            names = {one["name"] for one in redis_server.client().client_list()}
        assert "web" in names
        assert proxy.lost == 0


def test_every_operation_is_known_to_a_real_server(redis_server: RedisServer) -> None:
    client = redis_server.client()
    for name in OPERATIONS:
        assert client.script_load(source(name))


def test_the_shared_manager_is_one_for_the_same_settings(redis_url: str) -> None:
    one = get_redis_manager(RedisConfig(url=redis_url))
    assert get_redis_manager(RedisConfig(url=redis_url)) is one
    other = get_redis_manager(RedisConfig(url=redis_url, namespace="other"))
    assert other is not one
    one.create_session("s")
    assert other.get_session("s") is None
    one.disconnect()
    assert get_redis_manager(RedisConfig(url=redis_url)).get_session("s") == {}
    one.disconnect()
    other.disconnect()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_never_read_each_others_replies(redis_url: str) -> None:
    with Store(RedisConfig(url=redis_url)) as store:
        for name in ("parent", "child"):
            store.create_session(name, {"is": name})
        store.client.ping()
        child = os.fork()
        name = "parent" if child else "child"
        right = True
        try:
            for _ in range(200):
                right = right and store.get_session(name) == {"is": name}
                right = right and store.client.echo(name) == name.encode()
        except BaseException:
            right = False
        finally:
            if not child:
                os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert right
        assert store.get_session("parent") == {"is": "parent"}


def test_the_server_is_told_who_connects(redis_url: str) -> None:
    with Store(RedisConfig(url=redis_url)) as store:
        store.health_check()
        clients = store.client.client_list()
    names = {client["lib-name"] for client in clients if "lib-name" in client}  # since Redis 7.2
    assert all(name.startswith("redis-py") for name in names), names
