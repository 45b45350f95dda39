"""A router that forgot some connections, and tells neither side: new ones are answered at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import SessionAgent, SessionManager, StoreUnavailable
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.link import Link
from miniagent_redis.connection.wire import IS_AVAILABLE
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until
from tests.support.words import lines

X = Message("user", "x")
with_hiredis = pytest.mark.skipif(not IS_AVAILABLE, reason="redis-py reads the replies")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--enable-debug-command", "yes") as started:
        yield started


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.socket) as opened:
        yield opened


@pytest.fixture
def store(proxy: Proxy) -> Iterator[Store]:
    with Store(RedisConfig(url=proxy.url)) as opened:
        opened.create_session("s")
        opened.append_to_thread("s", X)
        yield opened


def keep(store: Store, number: int) -> None:
    """Have so many connections at hand that were all used just now."""
    pool = store.parts.core.connections.pool
    for link in [pool.take() for _ in range(number)]:
        link.ask([("PING",)], lambda *_: False)
        pool.give(link, in_order=True)


def state(store: Store) -> str:
    return store.parts.core.connections.availability.current().state


@with_hiredis
@pytest.mark.parametrize("socket_timeout", [0.4, 1.0, 5.0])
def test_a_call_tries_a_new_connection_well_before_its_time_is_over(
    proxy: Proxy, socket_timeout: float
) -> None:
    with Store(RedisConfig(url=proxy.url, socket_timeout=socket_timeout)) as store:
        store.create_session("s")
        keep(store, 20)
        proxy.forget()
        for _ in range(3):
            began = time.monotonic()
            store.append_to_thread("s", X)
            assert time.monotonic() - began < 0.9
        assert lines(store) == ["user:x"] * 3
        assert store.parts.core.connections.figures().lost_replies == 1
        assert state(store) == "healthy"


def test_without_hiredis_it_does_so_when_its_time_is_over(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Link, "uses_wire", False)
    with Store(RedisConfig(url=proxy.url)) as store:
        store.create_session("s")
        keep(store, 20)
        proxy.forget()
        store.append_to_thread("s", X)
        assert lines(store) == ["user:x"]
        assert store.parts.core.connections.figures().lost_replies == 1
        assert state(store) == "healthy"


@with_hiredis
def test_all_threads_go_on_and_none_takes_it_for_an_outage(proxy: Proxy, store: Store) -> None:
    keep(store, 10)
    proxy.forget()
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: store.append_to_thread("s", X), range(10)))
    assert len(lines(store)) == 11
    assert state(store) == "healthy"


def test_a_turn_goes_on(proxy: Proxy) -> None:
    with SessionAgent(redis_config=RedisConfig(url=proxy.url)) as agent:
        manager = SessionManager(agent)
        session = manager.create_or_resume_session("ada")
        manager.chat(session, "one")
        proxy.forget()
        assert manager.chat(session, "two")


def test_a_server_that_takes_its_time_is_not_taken_for_one(
    server: RedisServer, proxy: Proxy
) -> None:
    with Store(RedisConfig(url=proxy.url, socket_timeout=LIMIT)) as store:
        store.create_session("s")
        before = store.parts.core.connections.figures()
        admin: Any = server.client()
        busy = threading.Thread(target=lambda: admin.execute_command("DEBUG", "SLEEP", 1))
        busy.start()
        until(lambda: server_is_busy(server))
        store.append_to_thread("s", X)
        busy.join()
        after = store.parts.core.connections.figures()
        assert after.lost_replies == before.lost_replies
        assert after.commands.made == before.commands.made


@with_hiredis
def test_a_late_answer_is_taken_when_it_comes_though_a_new_connection_is_tried(
    proxy: Proxy,
) -> None:
    with Store(RedisConfig(url=proxy.url, socket_timeout=LIMIT)) as store:
        store.create_session("s")
        store.append_to_thread("s", X)
        proxy.delay = 1.0
        began = time.monotonic()
        store.append_to_thread("s", X)
        assert time.monotonic() - began < 2
        assert store.parts.core.connections.figures().lost_replies == 0


def server_is_busy(server: RedisServer) -> bool:
    try:
        return not server.client(socket_timeout=0.02).ping()
    except Exception:
        return True


def test_a_frozen_server_takes_no_longer_than_the_time_for_a_reply(
    server: RedisServer, store: Store
) -> None:
    server.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.get_session("s")
    assert time.monotonic() - began < 1.4
    assert state(store) == "down"
    server.resume()


def test_one_known_to_be_down_is_up_again_over_a_new_connection(proxy: Proxy, store: Store) -> None:
    connections = store.parts.core.connections
    connections.availability.failed(connections.unavailable("it was away"), 0.0)
    proxy.forget()
    assert store.get_session("s") == {}
    assert state(store) == "healthy"


# --- listening ----------------------------------------------------------------------------------


def test_who_begins_to_listen_does_so_over_a_new_connection(proxy: Proxy, store: Store) -> None:
    store.subscribe(["news"])
    proxy.forget()
    began = time.monotonic()
    store.subscribe(["more"])
    assert time.monotonic() - began < 2.5  # the PING before it may have been forgotten too
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(next, store.get_messages(LIMIT))
        until(lambda: store.publish("more", 1))
        assert heard.result(LIMIT)["data"] == 1


def test_a_subscriber_that_never_asks_hears_again(proxy: Proxy, server: RedisServer) -> None:
    with Store(RedisConfig(url=proxy.url, health_check_interval=1.5)) as store:
        store.subscribe(["news"])
        with ThreadPoolExecutor() as pool:
            heard = pool.submit(next, store.get_messages(LIMIT))
            proxy.forget()
            began = time.monotonic()
            until(lambda: not heard.running() or server.client().publish("news", 1) > 1)
            until(heard.done)
            assert time.monotonic() - began < 3
            assert heard.result(LIMIT)["data"] == 1
