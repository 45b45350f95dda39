"""Redis answers and refuses: password, rights, memory, a replica."""

from __future__ import annotations

import traceback

import pytest

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import (
    StoreMisconfigured,
    StoreUnavailable,
    TurnNotSaved,
)
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.servers import RedisServer
from tests.support.words import lines, said, soon

Store = RedisSessionManager


def assert_silent(error: BaseException, *secrets: str) -> None:
    """Check that neither the error nor what it is chained to shows a password."""
    shown = "".join(traceback.format_exception(error)) + repr(error)
    for secret in secrets:
        assert secret not in shown


def test_a_missing_or_wrong_password_is_told_at_once_and_never_shown() -> None:
    with RedisServer("--requirepass", "hunter2") as server:
        for url in (server.url, server.url.replace("unix://", "unix://:letmein@")):
            error = soon(StoreMisconfigured, Store(RedisConfig(url=url)).connect)
            assert "password" in error.hint
            assert_silent(error, "letmein", "hunter2")
        error = soon(
            StoreMisconfigured,
            Store(RedisConfig(url=server.url, username="ada", password="hunter2")).connect,
        )
        assert_silent(error, "hunter2")
        with Store(RedisConfig(url=server.url, password="hunter2")) as store:
            assert store.create_session("s")
            for shown in (
                repr(store),
                repr(store.config),
                str(store.parts.core.connections.address),
            ):
                assert "hunter2" not in shown
            server.client(password="hunter2").config_set("requirepass", "changed")
            server.client(password="changed").client_kill_filter(_type="normal", skipme=True)
            error = soon(StoreMisconfigured, lambda: store.get_session("s"))
            assert_silent(error, "hunter2", "changed")


def test_a_user_without_rights_is_told_what_is_missing(redis_server: RedisServer) -> None:
    admin = redis_server.client()
    admin.flushdb()
    try:
        admin.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], categories=["+@read"],
                          commands=["+ping"])  # fmt: skip
        with Store(RedisConfig(url=redis_server.url, username="reader", password="x")) as store:
            for call in (
                lambda: store.create_session("s"),
                lambda: store.get_session("s"),
                lambda: store.cache_set("k", 1),
                lambda: store.acquire_lock("k"),
            ):
                error = soon(StoreMisconfigured, call)
                assert "permissions" in error.cause
                assert "ACL" in error.hint
        admin.acl_setuser("other", enabled=True, nopass=True, keys=["other:*"],
                          categories=["+@all"], channels=["*"])  # fmt: skip
        config = RedisConfig(url=redis_server.url, username="other", password="x")
        with Store(config) as store:
            soon(StoreMisconfigured, lambda: store.create_session("s"))
        config.namespace = "other"
        with Store(config) as store:  # its own namespace is all that a tenant needs
            assert store.create_session("s", user_id="ada")
            store.commit_turn(store.begin_turn("s", "one"), [said("1")])
            assert len(store.list_sessions("ada")) == 1
        assert [key for key in admin.scan_iter() if not key.startswith(b"other:")] == []
    finally:
        admin.acl_deluser("reader", "other")


def test_a_full_server_refuses_writes_whole_and_lets_one_read_and_erase() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url, commit_timeout=0.1)) as store:
        store.create_session("s", user_id="ada")
        store.commit_turn(store.begin_turn("s", "one"), [said("1")])
        turn = store.begin_turn("s", "two")
        store.parts.index.flush()
        server.client().config_set("maxmemory", "1")
        before = server.client().lrange("thread:{s}", 0, -1), store.session_state("s")
        soon(StoreUnavailable, lambda: store.create_session("t"))
        soon(StoreUnavailable, lambda: store.append_to_thread("s", Message("user", "x")))
        with pytest.raises(TurnNotSaved):
            store.commit_turn(turn, [said("2")])
        assert (server.client().lrange("thread:{s}", 0, -1), store.session_state("s")) == before
        assert lines(store) == ["user:one", "assistant:1"]
        assert store.parts.core.connections.availability.is_down  # reading shows nothing of writes
        assert store.abort_turn(turn)
        assert store.clear_thread("s") == 2
        assert store.delete_session("s")


def test_a_replica_is_read_and_refuses_writes() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        server.client().config_set("replica-serve-stale-data", "yes")
        server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
        error = soon(StoreUnavailable, lambda: store.append_to_thread("s", Message("user", "x")))
        assert "read only replica" in str(error)
