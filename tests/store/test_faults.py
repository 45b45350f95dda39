"""Redis is away, refuses us, or is full: told soon, with what to do, and never half."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import (
    StoreUnavailable,
    TurnNotSaved,
)
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.shared import get_redis_manager
from tests.support.servers import RedisServer
from tests.support.words import lines, said, soon

Store = RedisSessionManager


CALLS: dict[str, Callable[[Store], object]] = {
    "connect": lambda store: store.connect(),
    "get_session": lambda store: store.get_session("s"),
    "create_session": lambda store: store.create_session("s"),
    "list_sessions": lambda store: store.list_sessions(),
    "load_thread": lambda store: store.load_thread("s"),
    "begin_turn": lambda store: store.begin_turn("s", "x"),
    "cache_get": lambda store: store.cache_get("k"),
    "rate_limit": lambda store: store.rate_limit("k"),
    "publish": lambda store: store.publish("c", 1),
    "subscribe": lambda store: store.subscribe(["c"]),
    "acquire_lock": lambda store: store.acquire_lock("k"),
    "get_redis_manager": lambda store: get_redis_manager(store.config),
}


@pytest.mark.parametrize("name", CALLS)
def test_without_redis_each_call_says_what_to_do(tmp_path: Path, name: str) -> None:
    store = Store(RedisConfig(url=f"unix://{tmp_path}/nobody"))
    error = soon(StoreUnavailable, lambda: CALLS[name](store))
    assert f"no Redis answers at unix://{tmp_path}/nobody" in str(error)
    assert "REDIS_URL" in error.hint
    assert "embedded://" in error.hint
    assert error.cause


def test_a_refused_port_is_told_soon() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = taken.getsockname()[1]
        store = Store(RedisConfig(host="127.0.0.1", port=port))
        error = soon(StoreUnavailable, store.connect)
        assert f"127.0.0.1:{port}" in str(error)
        assert not store.health_check()


def test_a_name_that_nobody_knows_is_told_soon() -> None:
    error = soon(StoreUnavailable, Store(RedisConfig(host="no-such-host.invalid")).connect)
    assert "no-such-host.invalid" in str(error)


def test_a_port_that_accepts_and_says_nothing_is_told_soon() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        config = RedisConfig(host="127.0.0.1", port=silent.getsockname()[1], socket_timeout=0.3)
        soon(StoreUnavailable, Store(config).connect)


def test_an_outage_is_told_and_over_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url, commit_timeout=0.1)) as store:
        store.create_session("s")
        turn = store.begin_turn("s", "one")
        assert store.health().state == "healthy"
        server.kill()

        with caplog.at_level(logging.WARNING, "miniagent_redis"):
            for name in ("get_session", "list_sessions"):
                soon(StoreUnavailable, lambda name=name: CALLS[name](store))
            with pytest.raises(TurnNotSaved) as caught:
                store.commit_turn(turn, [said("the answer")])
            assert caught.value.text == "the answer"
            down = store.health()
            assert (down.state, down.latency) == ("down", None)
            assert "no Redis answers" in down.error
            server.start()
            up = store.health()
            assert (up.state, up.error) == ("healthy", "")
            assert up.since >= down.since
            assert up.latency is not None
        told = [r.message for r in caplog.records if "answer" in r.message]
        assert len(told) == 2
        assert "is down" in told[0]
        assert "answers again" in told[1]

        assert store.health_check()
        assert store.get_session("s") is None
        assert store.create_session("s")
        store.commit_turn(store.begin_turn("s", "two"), [said("2")])
        assert lines(store) == ["user:two", "assistant:2"]


def test_a_restart_between_two_calls_is_not_noticed() -> None:
    args = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(*args) as server, Store(RedisConfig(url=server.url)) as store:
        store.create_session("s")
        store.lock("name")
        turn = store.begin_turn("s", "one")
        for _ in range(3):
            server.kill()
            server.start()
            turn = store.stage_step(turn, [said("step")])
        server.stop()
        server.start()
        store.commit_turn(turn, [said("1")])
        server.kill()
        server.start()
        assert len(lines(store)) == 5
        with store.lock("name"):
            pass
        assert store.client.ping()


def test_a_commit_waits_for_a_server_that_comes_back() -> None:
    with (
        RedisServer("--appendonly", "yes", "--appendfsync", "always") as server,
        Store(RedisConfig(url=server.url, commit_timeout=20)) as store,
    ):
        store.create_session("s")
        turn = store.begin_turn("s", "one")
        server.kill()
        soon(StoreUnavailable, lambda: store.get_session("s"))  # known to be down
        restart = threading.Timer(0.2, server.start)
        restart.start()
        store.commit_turn(turn, [said("1")])
        restart.join()
        assert lines(store) == ["user:one", "assistant:1"]


def test_a_frozen_server_is_told_soon_and_forgiven() -> None:
    with RedisServer() as server, Store(RedisConfig(url=server.url, socket_timeout=0.2)) as store:
        store.create_session("s")
        server.pause()
        soon(StoreUnavailable, lambda: store.get_session("s"))
        assert not store.health_check()
        server.resume()
        assert store.health_check()
        assert store.get_session("s") == {}


def test_forgotten_scripts_are_sent_again(real_store: Store) -> None:
    real_store.create_session("s")
    for n in range(3):
        real_store.client.script_flush()
        turn = real_store.begin_turn("s", str(n))
        real_store.client.script_flush()
        real_store.commit_turn(turn, [said(str(n))])
    assert len(lines(real_store)) == 6
