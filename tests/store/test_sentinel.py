"""The master that Sentinels name: who is believed, who is followed, and what is told.

The Sentinels here say what the test wants; real ones are in tests/faults/test_sentinel.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
import redis

from miniagent_redis import RedisConfig, RedisSessionManager, StoreMisconfigured, StoreUnavailable
from miniagent_redis.connection import to_master
from tests.support.sentinels import SERVICE, Sentinel
from tests.support.servers import RedisServer, free_port
from tests.support.told_sentinel import ToldSentinel
from tests.support.waiting import until

PATIENCE = 1.0  # seconds for which a call is repeated
_FAST = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class Scene:
    """Two servers, of which the first is the master, and three Sentinels that say so."""

    def __init__(self, stack: ExitStack) -> None:
        self.old, self.new = (stack.enter_context(RedisServer(*_FAST, tcp=True)) for _ in range(2))
        self.clients: dict[RedisServer, Any] = {one: one.client() for one in (self.old, self.new)}
        self.sentinels = [stack.enter_context(ToldSentinel(self.old.port)) for _ in range(3)]

    @property
    def url(self) -> str:
        places = ",".join(sentinel.place for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}"

    def replicate(self) -> None:
        """Have the second server follow the first, until it has everything."""
        for server in (self.old, self.new):
            self.clients[server].replicaof("NO", "ONE")
            self.clients[server].flushall()
        self.clients[self.new].replicaof("127.0.0.1", self.old.port)
        self.catch_up()
        for sentinel in self.sentinels:
            sentinel.port, sentinel.epoch, sentinel.flags = self.old.port, 0, "master"
            sentinel.is_silent, sentinel.refusal, sentinel.connections = False, b"", 0

    def catch_up(self) -> None:
        old, new = self.clients[self.old], self.clients[self.new]
        until(lambda: new.info("replication").get("master_link_status") == "up")
        until(lambda: len(old.execute_command("ROLE")[2]) == 1)
        offset = old.info("replication")["master_repl_offset"]
        until(lambda: new.info("replication")["slave_repl_offset"] >= offset)

    def promote(self, *, demote: bool) -> None:
        """Make the second the master; the first becomes its replica, or does not know yet."""
        self.clients[self.new].replicaof("NO", "ONE")
        if demote:
            self.clients[self.old].replicaof("127.0.0.1", self.new.port)

    def name(self, server: RedisServer, epoch: int, *which: int) -> None:
        for number in which or range(len(self.sentinels)):
            self.sentinels[number].port, self.sentinels[number].epoch = server.port, epoch


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


@pytest.fixture
def scene(shared: Scene) -> Scene:
    shared.replicate()
    return shared


@pytest.fixture
def store(scene: Scene) -> Iterator[RedisSessionManager]:
    with RedisSessionManager(RedisConfig(url=scene.url, commit_timeout=PATIENCE)) as store:
        store.create_session("s", data={"on": "old"})
        scene.catch_up()
        yield store


def succeeds(act: Callable[[], object]) -> bool:
    """Do something; who found the store down a moment ago is told so for a second."""
    try:
        act()
    except StoreUnavailable:
        return False
    return True


def error_of(url: str) -> StoreMisconfigured | StoreUnavailable:
    store = RedisSessionManager(RedisConfig(url=url))
    with pytest.raises((StoreMisconfigured, StoreUnavailable)) as told:
        store.connect()
    return told.value


def test_the_master_is_found_where_a_sentinel_is_gone(scene: Scene) -> None:
    url = scene.url.replace("://", f"://127.0.0.1:{free_port()},")
    with RedisSessionManager(RedisConfig(url=url)) as store:
        store.create_session("s")
    assert scene.clients[scene.old].exists("session:{s}")


def test_a_silent_sentinel_is_left_alone_by_the_connections_after(scene: Scene) -> None:
    silent = scene.sentinels[0]
    silent.is_silent = True
    with RedisSessionManager(RedisConfig(url=scene.url)) as store:
        store.create_session("s")
        asked = silent.connections
        store.client.ping()  # over another connection
        assert store.get_session("s") == {}
    assert silent.connections == asked == 1
    assert scene.sentinels[1].connections > 1


def test_an_old_view_is_not_believed_against_a_newer_one(scene: Scene) -> None:
    scene.promote(demote=False)
    scene.name(scene.new, 1, 2)  # the others have not heard of it
    config = RedisConfig(url=scene.url, commit_timeout=PATIENCE)
    with RedisSessionManager(config) as store:
        store.create_session("s")
        assert scene.clients[scene.new].exists("session:{s}")
        for told in scene.sentinels[2:]:  # who was right is gone
            told.is_silent = True
        store.parts.core.connections.pool.renew()
        with pytest.raises(StoreUnavailable) as told_of:
            store.create_session("t")
    assert "name an old master" in told_of.value.problem
    assert not scene.clients[scene.old].exists("session:{t}")


def test_a_named_server_that_is_no_master_is_not_used(scene: Scene) -> None:
    scene.name(scene.new, 1)  # a replica
    error = error_of(scene.url)
    assert isinstance(error, StoreUnavailable)
    assert "is no master" in error.problem
    assert "slave" in error.cause


def test_nothing_is_read_from_a_master_that_was_demoted_in_silence(
    scene: Scene, store: RedisSessionManager
) -> None:
    assert store.get_session("s")  # or the server may not have the script yet, and answers nothing
    scene.promote(demote=True)
    scene.clients[scene.new].delete("session:{s}")
    scene.name(scene.new, 1)
    assert store.get_session("s") is None
    assert store.stats().lost_replies == 1


def test_nothing_is_taken_from_a_demoted_master_that_sentinels_still_name(
    scene: Scene, store: RedisSessionManager
) -> None:
    scene.promote(demote=True)
    with pytest.raises(StoreUnavailable):
        store.get_session("s")
    with pytest.raises(redis.ConnectionError):
        until(lambda: store.client.get("x") is None and False)


def test_a_master_that_was_replaced_and_does_not_know_is_left_at_once(
    scene: Scene, store: RedisSessionManager
) -> None:
    scene.promote(demote=False)
    until(lambda: scene.clients[scene.old].execute_command("ROLE")[2] == [])
    with pytest.raises(StoreUnavailable):
        store.create_session("t")
    why = store.parts.core.connections.availability.current().error
    assert "is replaced as the master" in why
    scene.name(scene.new, 1)
    until(lambda: succeeds(lambda: store.create_session("t", data={"on": "new"})))
    assert scene.clients[scene.new].exists("session:{t}")


def test_a_replica_that_merely_went_away_stops_nothing(
    scene: Scene, store: RedisSessionManager
) -> None:
    scene.clients[scene.new].replicaof("127.0.0.1", free_port())
    until(lambda: scene.clients[scene.old].execute_command("ROLE")[2] == [])
    assert store.get_session("s") == {"on": "old"}
    store.create_session("t")
    scene.clients[scene.new].replicaof("127.0.0.1", scene.old.port)
    scene.catch_up()
    assert store.get_session("t") == {}


def test_while_it_is_not_known_who_takes_over_no_new_connection_is_made(scene: Scene) -> None:
    scene.sentinels[1].flags = "master,failover_in_progress"
    error = error_of(scene.url)
    assert isinstance(error, StoreUnavailable)
    assert "under way" in error.problem
    assert scene.sentinels[1].place in error.cause
    scene.promote(demote=False)
    scene.sentinels[1].next_port, scene.sentinels[1].epoch = scene.new.port, 1
    try:
        with RedisSessionManager(RedisConfig(url=scene.url)) as store:
            store.create_session("t")
    finally:
        scene.sentinels[1].next_port = 0
    assert scene.clients[scene.new].exists("session:{t}")


def test_the_users_clients_and_the_listener_follow(
    scene: Scene, store: RedisSessionManager
) -> None:
    store.subscribe(["news"])
    messages = store.get_messages(timeout=30)
    assert store.client.set("a", "old")
    scene.catch_up()

    async def use() -> None:
        client = store.parts.core.connections.async_client()
        assert await client.get("a") == b"old"
        scene.promote(demote=True)
        scene.name(scene.new, 1)
        with pytest.raises(redis.ReadOnlyError):
            await client.set("a", "new")  # at the latest here it notices
        assert await client.set("a", "new")
        await client.connection_pool.disconnect()

    asyncio.run(use())
    assert scene.clients[scene.new].get("a") == b"new"
    with pytest.raises(redis.ReadOnlyError):
        store.client.set("b", "new")
    assert store.client.set("b", "new")
    until(lambda: succeeds(lambda: store.create_session("t")))
    until(lambda: scene.clients[scene.new].pubsub_numsub("news")[0][1] == 1)
    scene.clients[scene.new].publish("news", "1")
    assert next(messages)["data"] == 1


def test_an_idle_client_asks_the_server_what_it_is_before_it_reads(
    scene: Scene, store: RedisSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("to_master", "async_pool"):
        monkeypatch.setattr(f"miniagent_redis.connection.{module}.FRESH", 0.0)

    async def use() -> None:
        client = store.parts.core.connections.async_client()
        assert await client.get("a") == store.client.get("a") == b"old"
        scene.promote(demote=True)
        scene.name(scene.new, 1)
        scene.clients[scene.new].set("a", "new")
        assert await client.get("a") == b"new"
        await client.connection_pool.disconnect()

    store.client.set("a", "old")
    scene.catch_up()
    asyncio.run(use())
    assert store.client.get("a") == b"new"


def test_an_idle_client_keeps_its_connection_while_the_server_is_the_master(
    scene: Scene, store: RedisSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miniagent_redis.connection.to_master.FRESH", 0.0)
    assert len({store.client.client_id() for _ in range(3)}) == 1


def test_an_idle_client_asks_the_server_once_in_a_while(
    store: RedisSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, role, now = count(), to_master._ToMaster._role, time.monotonic()
    monkeypatch.setattr(to_master._ToMaster, "_role", lambda link: (next(asked), role(link))[1])
    assert store.client.ping()
    monkeypatch.setattr(to_master, "monotonic", lambda: now + 60)
    before = next(asked)
    for _ in range(3):
        assert store.client.ping()
    assert next(asked) - before == 2  # with the look of this test


# --- what is told ------------------------------------------------------------------------------


def test_when_no_sentinel_answers_all_of_them_are_named() -> None:
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    error = error_of(f"redis+sentinel://{','.join(places)}/main")
    assert isinstance(error, StoreUnavailable)
    assert "no Sentinel of 'main' answers" in error.problem
    assert all(place in error.cause for place in places)


def test_an_unknown_service_is_told_with_those_that_are_known(scene: Scene) -> None:
    error = error_of(scene.url.replace(SERVICE, "other"))
    assert isinstance(error, StoreMisconfigured)
    assert "knows no service 'other'" in error.problem
    assert SERVICE in error.hint


def test_a_server_in_place_of_a_sentinel_is_told(scene: Scene) -> None:
    error = error_of(f"redis+sentinel://127.0.0.1:{scene.old.port}/main")
    assert isinstance(error, StoreMisconfigured)
    assert f"127.0.0.1:{scene.old.port} is no Sentinel" in error.problem
    assert "26379" in error.hint


def test_the_sentinels_have_credentials_of_their_own(scene: Scene) -> None:
    with Sentinel(scene.old.port, 1, "requirepass secret") as locked:
        url = f"redis+sentinel://127.0.0.1:{locked.port}/{SERVICE}"
        missing = error_of(f"{url}?db=1")
        assert "does not let us in" in missing.problem
        assert "sentinel_password" in missing.hint
        wrong = error_of(f"{url}?sentinel_password=no%20way")
        assert "does not let us in" in wrong.problem
        assert "is wrong" in wrong.hint
        assert "no way" not in str(wrong)
        for user in ("", "sentinel_username=default&"):
            config = RedisConfig(url=f"{url}?{user}sentinel_password=secret")
            with RedisSessionManager(config) as store:
                assert store.client.ping()
    unwanted = error_of(f"redis+sentinel://127.0.0.1:{scene.old.port}/m?sentinel_password=x")
    assert "leave sentinel_password out" in unwanted.hint


def test_a_dead_master_is_told_with_its_place(scene: Scene) -> None:
    for sentinel in scene.sentinels:
        sentinel.port = free_port()
    error = error_of(scene.url)
    assert isinstance(error, StoreUnavailable)
    assert f"SENTINEL MASTER {SERVICE}" in error.hint
    assert "127.0.0.1" in error.cause
