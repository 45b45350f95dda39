"""Several databases: which of them is used, what follows when another one is, and what is told."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    InvalidInput,
    Message,
    RedisConfig,
    RedisSessionManager,
    StoreMisconfigured,
    StoreUnavailable,
)
from miniagent_redis.connection.topology import asking_databases, multidb
from miniagent_redis.doctor.databases import databases
from miniagent_redis.doctor.shell import redis_cli
from tests.support.doctor_checks import examine
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.tls import Authority
from tests.support.waiting import LIMIT, until

pytest.importorskip("redis.multidb.circuit", reason="needs redis-py 7 and pybreaker")
PATIENCE = 30.0  # seconds; moving takes one, on a busy machine some more


@pytest.fixture
def first() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--repl-diskless-sync-delay", "0", tcp=True) as server:
        yield server


@pytest.fixture
def second() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--repl-diskless-sync-delay", "0", tcp=True) as server:
        yield server


@pytest.fixture
def url(first: RedisServer, second: RedisServer) -> str:
    return f"redis+multidb://127.0.0.1:{first.port},127.0.0.1:{second.port}"


@pytest.fixture
def store(url: str) -> Iterator[RedisSessionManager]:
    with RedisSessionManager(RedisConfig(url=url, commit_timeout=PATIENCE)) as opened:
        yield opened


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multidb, "_PROBATION", 0.5)
    monkeypatch.setattr(multidb, "_INTERVAL", 0.1)


@pytest.mark.parametrize("tries", [1, 3])
def test_one_that_is_away_is_tried_as_often_as_is_said(
    monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    asked = asking_databases.Databases(RedisConfig(url="redis+multidb://one,two"))
    causes = iter(["away"] * tries)
    monkeypatch.setattr(asked, "_try", lambda place: next(causes))
    monkeypatch.setattr(asking_databases, "_PAUSE", 0)
    assert asked.ask(("one", 6379), tries) == "away"
    assert [*causes] == []


def texts(store: RedisSessionManager) -> list[str]:
    return [message.text for message in store.load_thread("s").messages]


def is_in(server: RedisServer, session: str) -> bool:
    return bool(server.client().exists(f"session:{{{session}}}"))


def has_listener(server: RedisServer) -> bool:
    return bool(server.client().client_list(_type="pubsub"))


# --- which one is used ------------------------------------------------------------------------


def test_the_first_in_the_url_is_used(
    first: RedisServer, second: RedisServer, store: RedisSessionManager
) -> None:
    store.create_session("s")
    assert (is_in(first, "s"), is_in(second, "s")) == (True, False)


def test_one_that_is_away_at_the_start_is_passed_over(
    first: RedisServer, second: RedisServer, url: str
) -> None:
    first.kill()
    with RedisSessionManager(RedisConfig(url=url)) as store:
        store.create_session("s")
    assert is_in(second, "s")


def test_another_is_used_when_it_dies_and_it_again_when_it_is_back(
    first: RedisServer, second: RedisServer, quick: None, store: RedisSessionManager
) -> None:
    store.create_session("s", data={"on": "the first"})
    first.kill()
    assert store.get_session("s") is None  # that is what the second knows of it
    store.create_session("s", data={"on": "the second"})
    first.start()
    until(lambda: store.get_session("s") == {"on": "the first"})
    assert is_in(second, "s")


def test_one_that_is_silent_is_left(
    first: RedisServer, second: RedisServer, store: RedisSessionManager
) -> None:
    store.create_session("s")
    first.pause()
    until(lambda: store.get_session("s") is None)
    store.create_session("s")
    assert is_in(second, "s")


def test_a_short_trouble_is_no_reason_to_leave_it(
    first: RedisServer, second: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multidb, "_INTERVAL", 0.05)
    with Proxy(first.socket) as proxy:
        place = proxy.url.removeprefix("redis://").partition("/")[0]
        url = f"redis+multidb://{place},127.0.0.1:{second.port}"
        with RedisSessionManager(RedisConfig(url=url)) as store:
            store.create_session("s")
            for _ in range(5):
                proxy.take()
                proxy.cut()
                until(lambda: proxy.take().sent)  # it was asked again
                assert store.get_session("s") == {}
    assert not is_in(second, "s")


def test_a_replica_is_not_used_before_it_is_a_master(
    first: RedisServer, second: RedisServer, url: str
) -> None:
    client: Any = second.client()
    client.replicaof("127.0.0.1", first.port)
    until(lambda: client.info("replication").get("master_link_status") == "up")
    with RedisSessionManager(RedisConfig(url=url, commit_timeout=PATIENCE)) as store:
        store.create_session("s", data={"on": "both"})
        until(lambda: is_in(second, "s"))
        first.kill()
        with ThreadPoolExecutor() as pool:
            promoting = pool.submit(client.replicaof, "NO", "ONE")
            assert store.patch_session("s", {"and": "goes on"}) is not None
            promoting.result()
        assert store.get_session("s") == {"on": "both", "and": "goes on"}


# --- what follows -----------------------------------------------------------------------------


def test_what_is_known_of_a_thread_counts_for_nothing_in_another_database(
    first: RedisServer, second: RedisServer, quick: None, store: RedisSessionManager
) -> None:
    with RedisSessionManager(RedisConfig(url=second.url)) as other:
        for one, words in ((store, "abcd"), (other, "wxyz")):
            one.create_session("s")
            for word in words:
                one.append_to_thread("s", Message("user", word))
    assert texts(store) == list("abcd")
    first.kill()
    assert texts(store) == list("wxyz")
    first.start()
    until(lambda: texts(store) == list("abcd"))


def test_a_turn_costs_two_round_trips(first: RedisServer, second: RedisServer) -> None:
    with Proxy(first.socket) as proxy:
        place = proxy.url.removeprefix("redis://").partition("/")[0]
        url = f"redis+multidb://{place},127.0.0.1:{second.port}"
        with RedisSessionManager(RedisConfig(url=url)) as store:
            store.create_session("s")
            sent = first.client().info("commandstats")["cmdstat_evalsha"]["calls"]
            turn = store.begin_turn("s", Message("user", "hello"))
            store.commit_turn(turn, [Message("assistant", "hi")])
            now = first.client().info("commandstats")["cmdstat_evalsha"]["calls"]
            assert now - sent <= 4  # a script that is not known yet is sent again


def test_listeners_follow_when_it_dies_and_when_it_is_back(
    first: RedisServer, second: RedisServer, quick: None, store: RedisSessionManager
) -> None:
    with ThreadPoolExecutor() as pool:
        store.subscribe(["news"])
        messages = store.get_messages(PATIENCE)
        heard = pool.submit(next, messages)
        until(lambda: has_listener(first))
        first.kill()
        until(lambda: second.client().publish("news", 1))
        assert heard.result(LIMIT)["data"] == 1
        heard = pool.submit(next, messages)
        first.start()  # the connection to the second is in order all the while
        until(lambda: first.client().publish("news", 2))
        assert heard.result(LIMIT)["data"] == 2
        until(lambda: not has_listener(second))


def test_the_users_own_client_follows(
    first: RedisServer, second: RedisServer, quick: None, store: RedisSessionManager
) -> None:
    client: Any = store.client
    assert client.set("mine", "first")
    first.kill()
    until(lambda: store.get_session("s") is None)
    assert client.get("mine") is None
    assert client.set("mine", "second")
    first.start()
    until(lambda: client.get("mine") == b"first")


def test_the_asyncio_client_follows(
    first: RedisServer, second: RedisServer, quick: None, store: RedisSessionManager
) -> None:
    async def scene() -> None:
        client: Any = store.parts.core.connections.async_client()
        try:
            assert await client.set("mine", "first")
            first.kill()
            await asyncio.to_thread(until, lambda: store.get_session("s") is None)
            assert await client.get("mine") is None
            assert await client.set("mine", "second")
            first.start()
            async with asyncio.timeout(LIMIT):
                while await client.get("mine") != b"first":
                    await asyncio.sleep(0.01)
        finally:
            await client.aclose(close_connection_pool=True)

    asyncio.run(scene())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_looks_for_itself(
    first: RedisServer, second: RedisServer, quick: None, store: RedisSessionManager
) -> None:
    store.create_session("s")
    child = os.fork()
    if not child:
        try:
            os.kill(first.pid, signal.SIGKILL)
            store.create_session("child")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert is_in(second, "child")
    store.create_session("parent")
    assert is_in(second, "parent")


def test_its_thread_ends_with_the_store(url: str, quick: None) -> None:
    with RedisSessionManager(RedisConfig(url=url)) as store:
        store.create_session("s")
        name = "miniagent-redis-databases"
        assert name in [thread.name for thread in threading.enumerate()]
    until(lambda: name not in [thread.name for thread in threading.enumerate()])


def test_tls_is_spoken_to_all_of_them(tmp_path: Path) -> None:
    ca = Authority(tmp_path)
    first, second = (RedisServer(tcp=True, tls=ca.settings("127.0.0.1")) for _ in range(2))
    with first, second:
        url = f"rediss+multidb://127.0.0.1:{first.port},127.0.0.1:{second.port}"
        with pytest.raises(StoreMisconfigured, match="ssl_ca_certs"):
            RedisSessionManager(RedisConfig(url=url)).connect()
        config = RedisConfig(url=url, ssl_ca_certs=ca.file, commit_timeout=PATIENCE)
        with RedisSessionManager(config) as store:
            store.create_session("s")
            first.kill()
            assert store.get_session("s") is None
            store.create_session("s")


# --- what is told -----------------------------------------------------------------------------


def test_without_any_of_them_each_is_told(
    first: RedisServer, second: RedisServer, url: str
) -> None:
    first.kill()
    second.client().replicaof("127.0.0.1", first.port)
    with pytest.raises(StoreUnavailable) as told:
        RedisSessionManager(RedisConfig(url=url)).connect()
    assert f"127.0.0.1:{first.port}: " in told.value.cause
    assert "refused" in told.value.cause
    assert f"127.0.0.1:{second.port}: " in told.value.cause
    assert "read only" in told.value.cause.lower()


def test_a_wrong_password_everywhere_is_no_outage(
    first: RedisServer, second: RedisServer, url: str
) -> None:
    for server in (first, second):
        server.client().config_set("requirepass", "secret")
    with pytest.raises(StoreMisconfigured) as told:
        RedisSessionManager(RedisConfig(url=url.replace("://", "://:wrong@"))).connect()
    assert "wrong" in told.value.hint
    with RedisSessionManager(RedisConfig(url=url.replace("://", "://:secret@"))) as store:
        store.create_session("s")


def test_a_process_without_any_says_so_when_its_time_is_over(
    first: RedisServer, second: RedisServer, url: str
) -> None:
    with RedisSessionManager(RedisConfig(url=url, commit_timeout=0.5)) as store:
        store.create_session("s")
        first.kill()
        second.kill()
        with pytest.raises(StoreUnavailable) as told:
            store.get_session("s")
        assert "doctor" in told.value.hint
        second.start()
        until(store.health_check)
        assert store.get_session("s") is None


@pytest.mark.parametrize("missing", ["pybreaker", "redis.multidb"])
def test_what_is_not_installed_is_told(
    url: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith(("redis.multidb", "pybreaker"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(StoreMisconfigured) as told:
        RedisSessionManager(RedisConfig(url=url)).connect()
    assert "miniagent-redis[multidb]" in told.value.hint
    assert missing in told.value.cause


@pytest.mark.parametrize("hosts", ["a", "a,a:6379", "a,"])
def test_two_hosts_are_needed(hosts: str) -> None:
    with pytest.raises(InvalidInput):
        RedisConfig(url=f"redis+multidb://{hosts}")


# --- the doctor -------------------------------------------------------------------------------


def test_the_doctor_shows_all_of_them(first: RedisServer, second: RedisServer, url: str) -> None:
    check = examine(url)["databases"]
    assert check.verdict == "ok"
    assert check.detail == (
        f"2 of 2 can be used: 127.0.0.1:{first.port} is used; 127.0.0.1:{second.port} can be used"
    )
    first.kill()
    check = examine(url)["databases"]
    assert check.verdict == "warn"
    assert "refused" in check.detail
    assert f"127.0.0.1:{second.port} is used" in check.detail
    line = redis_cli(RedisConfig(url=url), "PING")
    assert line == f"redis-cli -h 127.0.0.1 -p {second.port} PING"


def test_the_doctor_tells_that_the_first_is_back(
    first: RedisServer, second: RedisServer, url: str
) -> None:
    first.kill()
    with RedisSessionManager(RedisConfig(url=url)) as store:
        store.connect()
        first.start()
        check = databases(store)
    assert check.verdict == "warn"
    assert "the first is back" in check.detail
