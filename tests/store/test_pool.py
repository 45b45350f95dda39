"""The connections of a store are shared fairly, and that there is none is told by its name."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest
from attrs import astuple

from miniagent_redis import PoolExhausted, StoreUnavailable
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until


def waiting(store: Store) -> int:
    return store.parts.core.connections.figures().commands.waiting


def start_waiting(store: Store, number: int, work: Any) -> list[threading.Thread]:
    """Start threads that wait for a connection, one behind the other."""
    threads = []
    for n in range(number):
        thread = threading.Thread(target=work, args=(n,))
        thread.start()
        threads.append(thread)
        until(lambda n=n: waiting(store) == n + 1)
    return threads


def served(store: Store, number: int) -> list[int]:
    """Have threads wait for the only connection; return in which order they got it."""
    pool = store.parts.core.connections.pool
    held = pool.take()
    order: list[int] = []

    def work(number: int) -> None:
        link = pool.take()
        order.append(number)
        pool.give(link, in_order=True)

    threads = start_waiting(store, number, work)
    pool.give(held, in_order=True)
    for thread in threads:
        thread.join()
    return order


def test_exhaustion_has_an_error_of_its_own(redis_url: str) -> None:
    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=0.05)
    with Store(config) as store:
        held = store.parts.core.connections.pool.take()
        with pytest.raises(PoolExhausted) as caught:
            store.get_session("s")
        assert (caught.value.most, caught.value.waited) == (1, 0.05)
        assert "all 1 connections" in str(caught.value)
        assert "max_connections" in caught.value.hint
        assert isinstance(caught.value, StoreUnavailable)
        figures = store.parts.core.connections.figures().commands
        assert figures.exhausted > 0
        assert (figures.in_use, figures.idle, figures.waiting, figures.most) == (1, 0, 0, 1)
        assert store.parts.core.connections.availability.current().state == "healthy"
        store.parts.core.connections.pool.give(held, in_order=True)
        assert store.get_session("s") is None


def test_how_long_to_wait_is_a_setting(redis_url: str) -> None:
    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=30)
    with Store(config) as store:
        held = store.parts.core.connections.pool.take()
        found: list[Any] = []
        threads = start_waiting(store, 1, lambda _: found.append(store.get_session("s")))
        store.parts.core.connections.pool.give(held, in_order=True)
        threads[0].join()
        assert found == [None]
    impatient = RedisConfig(url=redis_url, max_connections=1, pool_timeout=0)
    with Store(impatient) as store:
        held = store.parts.core.connections.pool.take()
        began = time.monotonic()
        with pytest.raises(PoolExhausted):
            store.parts.core.connections.pool.take()
        assert time.monotonic() - began < 0.5
        store.parts.core.connections.pool.give(held, in_order=True)


def test_who_came_first_is_served_first(redis_url: str) -> None:
    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=30)
    with Store(config) as store:
        assert served(store, 20) == list(range(20))
        assert waiting(store) == 0


def test_who_looks_by_itself_does_not_pass_one_that_came_before(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miniagent_redis.connection.pool._Ticket.wake", lambda self: None)
    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=600)
    with Store(config) as store:
        assert served(store, 8) == list(range(8))


def test_a_newcomer_does_not_pass_those_who_wait(redis_url: str) -> None:
    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=30)
    with Store(config) as store:
        pool = store.parts.core.connections.pool
        held = pool.take()
        order: list[object] = []
        go_on = threading.Event()

        def work(number: int) -> None:
            link = pool.take()
            order.append(number)
            go_on.wait(20)
            pool.give(link, in_order=True)

        threads = start_waiting(store, 2, work)
        pool.give(held, in_order=True)
        until(lambda: order == [0])
        go_on.set()
        link = pool.take()
        order.append("newcomer")
        pool.give(link, in_order=True)
        for thread in threads:
            thread.join()
        assert order == [0, 1, "newcomer"]


def test_one_whose_wait_was_interrupted_holds_up_nobody(redis_url: str) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread only")

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=30)
    with Store(config) as store:
        pool = store.parts.core.connections.pool
        held = pool.take()
        before = signal.signal(signal.SIGALRM, interrupt)
        errors = []
        try:
            for _ in range(3):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with pytest.raises(Interrupted) as caught:
                    pool.take()
                errors.append(caught.value)  # with its frames
        finally:
            signal.signal(signal.SIGALRM, before)
        assert waiting(store) == 0
        served: list[int] = []

        def work(number: int) -> None:
            pool.give(pool.take(), in_order=True)
            served.append(number)

        threads = start_waiting(store, 3, work)
        pool.give(held, in_order=True)
        for thread in threads:
            thread.join()
        assert served == [0, 1, 2]


def test_a_signal_handler_may_wait_inside_of_one_that_waits(redis_url: str) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are handled in the main thread only")
    config = RedisConfig(url=redis_url, max_connections=1, pool_timeout=600)
    with Store(config) as store:
        pool = store.parts.core.connections.pool
        held = pool.take()
        found: list[object] = []

        def handle(*_: object) -> None:
            pool.give(held, in_order=True)
            found.append(store.get_session("s"))

        before = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert store.get_session("s") is None
        finally:
            signal.signal(signal.SIGALRM, before)
        assert found == [None]


def test_connections_to_a_server_whose_role_changed_are_given_up() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        pool = store.parts.core.connections.pool
        first, second = pool.take(), pool.take()
        pool.give(first, in_order=True)
        pool.renew()
        assert pool.figures().idle == 0
        pool.give(second, in_order=True)
        assert (pool.figures().idle, pool.figures().in_use) == (0, 0)
        assert pool.take() not in (first, second)


def test_when_one_connection_was_closed_the_others_are_looked_at_before_their_use() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        pool, connections = store.parts.core.connections.pool, store.parts.core.connections
        links = [pool.take(), pool.take()]
        for link in links:
            link.ask([("PING",)], lambda *_: False)
            pool.give(link, in_order=True)
        server.client().client_kill_filter(_type="normal", skipme=True)
        links[1]._used = 0.0  # it was long idle, and is the next; the other was used just now
        taken = pool.take()
        assert taken not in links
        pool.give(taken, in_order=True)
        assert connections.figures().commands.idle == 1


def test_a_network_that_forgot_connections_costs_one_silence_for_all_of_them() -> None:
    with (
        RedisServer() as server,
        Proxy(server.socket) as proxy,
        Store(RedisConfig(url=proxy.url, socket_timeout=0.5)) as store,
    ):
        store.create_session("s")
        pool = store.parts.core.connections.pool
        links = [pool.take() for _ in range(3)]
        for link in links:
            link.ask([("PING",)], lambda *_: False)
            pool.give(link, in_order=True)
        proxy.forget()
        assert store.get_session("s") == {}
        assert store.stats().lost_replies == 1
        assert pool.take() not in links


def test_a_store_that_is_not_open_has_no_connections_and_made_none() -> None:
    figures = Store(RedisConfig()).parts.core.connections.figures()
    assert astuple(figures.commands) == (0,) * 6
