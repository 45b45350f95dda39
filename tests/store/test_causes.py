"""Each way in which a server refuses us is told by its own cause and its own cure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.connection import DefaultParser

from miniagent_redis import MiniAgentError, StoreMisconfigured, StoreUnavailable
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.faults import Faults
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.servers import RedisServer
from tests.support.waiting import until
from tests.support.words import soon


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    with Store(RedisConfig(url=server.url)) as opened:
        opened.create_session("s")
        yield opened


def write(store: Store) -> object:
    return store.append_to_thread("s", Message("user", "x"))


def assert_told(error: MiniAgentError, problem: str, hint: str) -> None:
    assert problem in error.problem
    assert hint in error.hint
    assert error.cause
    assert "redis-server" not in error.hint


def test_a_password_that_is_missing_or_wrong() -> None:
    with RedisServer("--requirepass", "hunter2") as server:
        error = soon(StoreMisconfigured, Store(RedisConfig(url=server.url)).connect)
        assert_told(error, "does not let us in", "wants a password: set RedisConfig.password")
        config = RedisConfig(url=server.url, password="letmein")
        error = soon(StoreMisconfigured, Store(config).connect)
        assert_told(error, "does not let us in", "password is wrong")


def test_a_password_for_a_server_that_has_none(server: RedisServer) -> None:
    store = Store(RedisConfig(url=server.url, password="hunter2"))
    assert_told(soon(StoreMisconfigured, store.connect), "does not let us in", "leave yours out")


def test_a_user_without_rights(server: RedisServer) -> None:
    server.client().acl_setuser("ada", enabled=True, nopass=True, keys=["*"], commands=["+ping"])
    with Store(RedisConfig(url=server.url, username="ada", password="x")) as store:
        error = soon(StoreMisconfigured, lambda: store.get_session("s"))
    assert_told(error, "does not let us in", "give the user ada these rights by ACL SETUSER")


def test_a_database_that_is_not_there(server: RedisServer) -> None:
    store = Store(RedisConfig(url=f"unix://{server.socket}?db=99"))
    error = soon(StoreMisconfigured, store.connect)
    assert_told(error, "has no database 99", "choose a smaller db")


def test_too_many_clients(server: RedisServer, store: Store) -> None:
    admin = server.client()
    admin.config_set("maxclients", 1)
    admin.client_kill_filter(_type="normal", skipme=True)
    error = soon(StoreUnavailable, lambda: store.get_session("s"))
    assert_told(error, "takes no more clients", "maxclients")
    admin.config_set("maxclients", 1000)
    assert store.health_check()


def test_a_replica(server: RedisServer, store: Store) -> None:
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    error = soon(StoreUnavailable, lambda: write(store))
    assert_told(error, "is a replica and takes no writes", "connect to its master")


def test_a_replica_without_its_master(server: RedisServer, store: Store) -> None:
    server.client().config_set("replica-serve-stale-data", "no")
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    error = soon(StoreUnavailable, lambda: store.get_session("s"))
    assert_told(error, "replica without its master", "link to the master")


def test_no_memory_left(server: RedisServer, store: Store) -> None:
    server.client().config_set("maxmemory", "1")
    error = soon(StoreUnavailable, lambda: write(store))
    assert_told(error, "no memory left", "raise `maxmemory`")
    assert "nothing was written" in error.hint


def test_too_few_replicas(server: RedisServer, store: Store) -> None:
    server.client().config_set("min-replicas-to-write", 1)
    error = soon(StoreUnavailable, lambda: write(store))
    assert_told(error, "too few replicas", "min-replicas-to-write")


def test_a_disk_that_cannot_be_written(server: RedisServer, store: Store) -> None:
    admin = server.client()
    in_the_way = Path(server.folder / "dump.rdb")
    in_the_way.mkdir()
    (in_the_way / "occupied").touch()
    admin.config_set("save", "3600 100000")
    admin.bgsave()
    until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    error = soon(StoreUnavailable, lambda: write(store))
    assert_told(error, "cannot save to its disk", "make room on that disk")


def test_a_script_that_takes_all_the_time(server: RedisServer, store: Store) -> None:
    admin, other = server.client(), server.client()
    admin.config_set("busy-reply-threshold", 1)

    def run() -> None:
        with pytest.raises(redis.ResponseError):  # it is killed
            admin.eval("while true do end", 0)

    def is_busy() -> bool:
        try:
            return not other.ping()
        except redis.ResponseError:
            return True

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(is_busy)
        error = soon(StoreUnavailable, lambda: store.get_session("s"))
        assert_told(error, "is busy with a script", "SCRIPT KILL")
    finally:
        other.script_kill()
        thread.join()


def test_a_key_of_another_type(server: RedisServer, store: Store) -> None:
    server.client().set("thread:{s}", "mine")
    error = soon(StoreMisconfigured, lambda: write(store))
    assert "namespace" in error.hint


@pytest.mark.parametrize(
    ("reply", "kind", "problem", "hint"),
    [
        ("LOADING Redis is loading the dataset in memory", StoreUnavailable,
         "is loading its data", "wait until it is done"),
        ("UNBLOCKED force unblock from blocking operation", StoreUnavailable,
         "ended a blocked command", "passes by itself"),
        ("CLUSTERDOWN The cluster is down", StoreUnavailable, "cluster", "CLUSTER INFO"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", StoreUnavailable,
         "is moving our keys", "passes by itself"),
        ("MOVED 3999 127.0.0.1:6381", StoreMisconfigured, "node of a cluster", "redis+cluster://"),
        ("CROSSSLOT Keys in request don't hash to the same slot", StoreMisconfigured,
         "node of a cluster", "redis+cluster://"),
        ("ERR SELECT is not allowed in cluster mode", StoreMisconfigured,
         "only database 0", "redis+cluster://"),
        ("DENIED Redis is running in protected mode", StoreMisconfigured,
         "does not let us in", "protected mode"),
        ("ERR unknown command 'EVALSHA', with args beginning with: ", StoreMisconfigured,
         "does not know a command", "version 7"),
        ("ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'",
         StoreMisconfigured, "does not know scripts", "version 7"),
        ("ERR something new", StoreMisconfigured, "refused the command", "doctor"),
    ],
)  # fmt: skip
def test_what_a_server_seldom_replies(
    reply: str, kind: type[MiniAgentError], problem: str, hint: str
) -> None:
    parse: Callable[[str], Exception] = DefaultParser.parse_error
    faults: Any = Faults(RedisConfig(host="h"))
    with pytest.raises(kind) as caught, faults.translating():
        raise parse(reply)
    assert_told(caught.value, problem, hint)


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("redis://h", "start it (redis-server)"),
        ("embedded:///folder", "log in its data folder"),
        ("redis+sentinel://h/mymaster", "SENTINEL MASTER mymaster"),
        ("redis+multidb://h,other", "start one of its servers"),
    ],
)
def test_who_does_not_answer_is_told_with_what_to_do(url: str, hint: str) -> None:
    assert hint in Faults(RedisConfig(url=url)).unavailable("silent").hint


def test_writes_go_on_by_themselves_when_the_role_is_changed_back(
    server: RedisServer, store: Store
) -> None:
    server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    back = threading.Timer(0.2, lambda: server.client().execute_command("REPLICAOF", "NO", "ONE"))
    back.start()
    before = store.parts.core.connections.figures()
    write(store)
    back.join()
    after = store.parts.core.connections.figures()
    assert after.retries > before.retries
    assert after.commands.made > before.commands.made  # none that knew the replica was used again
    assert store.session_state("s").message_count == 1
