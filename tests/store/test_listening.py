"""All who wait in one process share one connection, and hear again when it was lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
import redis

from miniagent_redis import EventType, StoreMisconfigured, aio
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.line import Line
from miniagent_redis.connection.link import Link
from miniagent_redis.store import channels
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.cluster import one_node
from tests.support.coroutines import run
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.words import said

Store = RedisSessionManager
LIMIT = 20.0
THREAD = "miniagent-redis-listening"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def connected(admin: redis.Redis) -> int:
    return int(admin.info("clients")["connected_clients"])


def scripts_run(admin: redis.Redis) -> int:
    return int(admin.info("commandstats")["cmdstat_evalsha"]["calls"])


def threads_that_listen() -> int:
    return sum(thread.name == THREAD for thread in threading.enumerate())


def test_five_hundred_watchers_cost_one_connection_and_one_thread(real_store: Store) -> None:
    client = real_store.client
    session_ids = [f"s{n}" for n in range(500)]
    for session_id in session_ids:
        real_store.create_session(session_id)
    connections, threads = connected(client), threading.active_count()
    watchers = {one: real_store.watch(one, "", LIMIT) for one in session_ids}
    assert {next(watcher).type for watcher in watchers.values()} == {EventType.SESSION_CREATED}
    assert connected(client) <= connections + 1
    assert threading.active_count() <= threads + 1
    for session_id, watcher in watchers.items():
        real_store.begin_turn(session_id, "hi")
        assert next(watcher).type is EventType.TURN_STARTED
    assert connected(client) <= connections + 1


def test_tasks_that_watch_hold_no_thread_each(redis_url: str) -> None:
    async def main() -> None:
        threads = threading.active_count()
        async with aio.RedisSessionManager(RedisConfig(url=redis_url)) as store:
            session_ids = [f"s{n}" for n in range(200)]
            for session_id in session_ids:
                await store.create_session(session_id)
            connections = connected(store.sync.client)
            watchers = [store.watch(session_id, "", LIMIT) for session_id in session_ids]
            for watcher in watchers:
                assert (await anext(watcher)).type is EventType.SESSION_CREATED
            waiting = [asyncio.ensure_future(anext(watcher)) for watcher in watchers]
            while store.sync.parts.core.connections.listening.count < 200:
                await asyncio.sleep(0)
            assert connected(store.sync.client) <= connections + 16  # as many as short calls take
            assert threading.active_count() <= threads + 16 + 4
            for session_id in session_ids:
                await store.begin_turn(session_id, "hi")
            heard = await asyncio.gather(*waiting)
            assert {event.type for event in heard} == {EventType.TURN_STARTED}

    run(main())


def test_a_task_that_watches_is_cancelled_at_once(store_url: str) -> None:
    async def main() -> None:
        async with aio.RedisSessionManager(RedisConfig(url=store_url)) as store:
            await store.create_session("s")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(store.watch("s"))
            assert store.sync.parts.core.connections.listening.count == 0

    run(main())


def test_a_wake_up_costs_one_read(real_store: Store) -> None:
    client: Any = real_store.client
    real_store.create_session("s")
    watcher = real_store.watch("s", "", LIMIT)
    next(watcher)
    before = scripts_run(client)
    with ThreadPoolExecutor(1) as pool:
        for _ in range(5):
            heard = pool.submit(next, watcher)
            turn = real_store.begin_turn("s", "hi")
            assert heard.result(LIMIT).type is EventType.TURN_STARTED
            heard = pool.submit(next, watcher)
            real_store.abort_turn(turn)
            assert heard.result(LIMIT).type is EventType.TURN_FAILED
    assert scripts_run(client) - before == 5 * (2 + 2)  # writes and reads


def test_who_waits_hears_again_when_the_connection_was_ended(server: RedisServer) -> None:
    admin = server.client()
    with Store(RedisConfig(url=server.url)) as store, ThreadPoolExecutor() as pool:
        store.create_session("s")
        store.subscribe(["news"])
        watcher, messages = store.watch("s", "", LIMIT), store.get_messages(LIMIT)
        next(watcher)
        running = store.begin_turn("s", "one")
        next(watcher)
        heard = pool.submit(next, watcher), pool.submit(next, messages)
        waiting = pool.submit(store.begin_turn, "s", "two")
        until(lambda: store.parts.core.connections.listening.count == 3)
        assert admin.client_kill_filter(_type="pubsub") == 1
        until(lambda: store.publish("news", 1))
        store.abort_turn(running)
        assert heard[0].result(LIMIT).type is EventType.TURN_FAILED
        assert heard[1].result(LIMIT)["data"] == 1
        assert waiting.result(LIMIT).staged[0].text == "two"


def test_a_connection_that_swallows_everything_is_noticed_by_asking(server: RedisServer) -> None:
    with Proxy(server.socket) as proxy:
        config = RedisConfig(url=proxy.url, health_check_interval=0.6, socket_timeout=0.2)
        with Store(config) as store, ThreadPoolExecutor() as pool:
            listening = store.parts.core.connections.listening.anywhere
            store.subscribe(["news"])
            heard = pool.submit(next, store.get_messages(LIMIT))
            assert listening.trouble(b"news") is None
            proxy.is_black_hole = True
            until(lambda: listening.trouble(b"news"))
            proxy.is_black_hole = False
            proxy.cut()
            until(lambda: listening.trouble(b"news") is None)
            until(lambda: server.client().publish("news", 1))
            assert heard.result(LIMIT)["data"] == 1


def test_two_loops_on_one_store_each_hear_everything(store: Store) -> None:
    store.subscribe(["news"])
    store.publish("news", 0)
    first = store.get_messages(LIMIT)
    assert next(first)["data"] == 0
    second = store.get_messages(LIMIT)
    for number in (1, 2, 3):
        store.publish("news", number)
    for loop in (first, second):
        assert [m["data"] for m in islice(loop, 3)] == [1, 2, 3]


@one_node
def test_a_loop_that_is_late_loses_the_oldest_and_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channels, "KEPT", 3)
    store.subscribe(["news"])
    for number in range(6):
        store.publish("news", number)
    store.subscribe(["end"])  # confirmed behind all of them
    assert [m["data"] for m in islice(store.get_messages(LIMIT), 3)] == [3, 4, 5]
    assert sum("late by" in record.message for record in caplog.records) == 1


def test_without_the_right_to_listen_who_waits_looks_every_second(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.client().acl_setuser(
        "deaf", enabled=True, passwords=["+x"], commands=["+@all", "-subscribe"],
        keys=["*"], channels=["*"],
    )  # fmt: skip
    config = RedisConfig(url=server.url, username="deaf", password="x")
    with Store(config) as store, ThreadPoolExecutor() as pool:
        store.create_session("s")
        with pytest.raises(StoreMisconfigured, match="subscribe"):
            store.subscribe(["news"])
        watcher = store.watch("s", "", LIMIT)
        next(watcher)
        running = store.begin_turn("s", "one")
        next(watcher)
        waiting = pool.submit(store.begin_turn, "s", "two")
        heard = pool.submit(next, watcher)
        store.commit_turn(running, [said("1")])
        assert heard.result(LIMIT).type is EventType.AGENT_RESPONSE
        assert waiting.result(LIMIT).staged[0].text == "two"
    told = [record for record in caplog.records if "cannot listen" in record.message]
    assert len(told) == 1


def test_its_thread_ends_with_the_last_who_listens(store: Store) -> None:
    store.subscribe(["news"])
    assert threads_that_listen() == 1
    store.unsubscribe()
    until(lambda: threads_that_listen() == 0)
    store.subscribe(["news"])
    store.publish("news", 1)
    assert next(store.get_messages(LIMIT))["data"] == 1
    store.disconnect()
    until(lambda: threads_that_listen() == 0)


def test_who_has_not_read_all_that_came_does_not_wait_for_more(real_store: Store) -> None:
    """Else the rest, which the connection holds already, would come with the next message."""
    line = Line(real_store.parts.core.connections.listening_link())
    line.subscribe([b"many"])
    until(lambda: line.read())
    commands = real_store.client.pipeline(transaction=False)
    for number in range(1500):
        commands.publish("many", number)
    assert commands.execute() == [1] * 1500
    heard = line.read()
    assert len(heard) < 1500
    waiting = threading.Thread(target=line.wait, args=(600,), daemon=True)
    waiting.start()
    until(lambda: not waiting.is_alive())
    while len(heard) < 1500:
        heard += line.read()
    line.close()


def test_who_joins_while_the_store_is_disconnected_is_heard(
    real_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()
    subscribe = Line.subscribe

    def slowly(line: Line, channels: Any) -> None:
        if not go_on.is_set():
            asked.set()  # and not sent
        else:
            subscribe(line, channels)

    monkeypatch.setattr(Line, "subscribe", slowly)
    real_store.create_session("s")
    running = real_store.begin_turn("s", "one")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(real_store.begin_turn, "s", "two", busy_timeout=LIMIT)
        assert asked.wait(LIMIT)
        go_on.set()
        real_store.disconnect()
        until(
            lambda: (
                real_store.parts.core.connections.listening.anywhere.line(b"events:{s}") is not None
            )
        )
        real_store.commit_turn(running, [said("1")])
        assert waiting.result(LIMIT).staged[0].text == "two"


def test_a_connection_that_is_closed_while_it_is_read_is_lost_and_no_fault(
    real_store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    def close(self: Link, timeout: float = 0) -> bool:
        if not closed.is_set() and threading.current_thread().name == THREAD:
            closed.set()
            self.disconnect()  # as another thread may, behind the look whether it is connected
            raise TypeError("argument must be an int, or have a fileno() method.")  # redis-py's
        return bool(can_read(self, timeout))

    real_store.create_session("s")
    watcher = real_store.watch("s", "", LIMIT)
    next(watcher)
    can_read = Link.can_read
    monkeypatch.setattr(Link, "can_read", close)
    with ThreadPoolExecutor(1) as pool:
        heard = pool.submit(next, watcher)
        until(lambda: real_store.parts.core.connections.listening.count == 1)
        real_store.begin_turn("s", "hi")
        assert heard.result(LIMIT).type is EventType.TURN_STARTED
    assert closed.is_set()
    assert "fault of its own" not in caplog.text
