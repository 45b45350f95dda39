"""The redis-py client of a store: a connection is handed on when it is in order, only then."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.client import Pipeline

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.servers import RedisServer


class Interrupted(BaseException):
    """As a Ctrl-C."""


@pytest.fixture
def store(redis_server: RedisServer) -> Any:
    redis_server.client().flushdb()
    with Store(RedisConfig(url=redis_server.url)) as opened:
        opened.client.ping()
        yield opened


def made(store: Store) -> int:
    figures = store.parts.core.connections.figures().client
    assert figures is not None
    return figures.made


def interrupt_after(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, call: int) -> None:
    """Have a method of redis-py's raise Interrupted in its ``call``-th call from now on."""
    real = getattr(kind, name)
    calls = 0

    def method(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            monkeypatch.setattr(kind, name, real)
            raise Interrupted
        return real(self, *args, **options)

    monkeypatch.setattr(kind, name, method)


def test_the_client_has_the_name_that_it_had_in_the_original_too(store: Store) -> None:
    assert store._client is store.client


def test_a_subclass_may_use_that_name_for_something_else(redis_server: RedisServer) -> None:
    class Named(Store):
        def __init__(self, config: RedisConfig) -> None:
            super().__init__(config)
            self._client = "of mine"

    with Named(RedisConfig(url=redis_server.url)) as store:
        assert store._client == "of mine"
        assert store.client.ping()


def test_a_call_inside_an_except_block_keeps_its_connection(store: Store) -> None:
    before = made(store)
    try:
        raise ValueError("of the caller, and none of our business")
    except ValueError:
        for _ in range(100):
            store.client.ping()
        store.get_session("s")
    assert made(store) == before


def test_an_error_that_the_server_replied_keeps_the_connection(store: Store) -> None:
    before = made(store)
    store.client.set("text", "x")
    for _ in range(10):
        with pytest.raises(redis.ResponseError):
            store.client.lpush("text", "y")
        pipe = store.client.pipeline()
        pipe.get("text")
        pipe.lpush("text", "y")
        pipe.get("text")
        with pytest.raises(redis.ResponseError):
            pipe.execute()
    assert store.client.get("text") == b"x"
    assert made(store) == before


def test_what_an_interrupted_command_left_unread_reaches_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        store.client.set(f"secret-{n}", "of another")
        before = made(store)
        interrupt_after(monkeypatch, redis.Redis, "parse_response", 1)
        with pytest.raises(Interrupted):
            store.client.get(f"secret-{n}")
        assert store.client.get("nothing") is None
        assert made(store) == before + 1


@pytest.mark.parametrize("transaction", [True, False])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_what_an_interrupted_pipeline_left_unread_reaches_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch, transaction: bool, call: int
) -> None:
    before = made(store)
    interrupt_after(monkeypatch, Pipeline, "parse_response", call)
    with store.client.pipeline(transaction=transaction) as pipe:
        for n in range(3):
            pipe.set(f"k{n}", n)
        with pytest.raises(Interrupted):
            pipe.execute()
    assert store.client.get("nothing") is None
    assert made(store) == before + 1


def test_a_watch_that_was_interrupted_spoils_no_transaction(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch_key(pipe: Any) -> None:
        real = pipe.parse_response

        def parse_response(*args: Any, **options: Any) -> Any:
            real(*args, **options)
            pipe.watching = False  # it was not yet set
            raise Interrupted

        pipe.parse_response = parse_response
        pipe.watch("key")

    pipe = store.client.pipeline()
    with pytest.raises(Interrupted):
        watch_key(pipe)
    pipe.reset()
    store.parts.core.connections.call("SET", "key", "changed")
    with store.client.pipeline() as other:
        other.set("key", "mine")
        assert other.execute() == [True]


def test_transactions_that_watch_keep_their_connection(store: Store) -> None:
    before = made(store)
    for n in range(5):
        with store.client.pipeline() as pipe:
            pipe.watch("key")
            pipe.multi()
            pipe.set("key", n)
            pipe.execute()
        with store.client.pipeline() as pipe:
            pipe.watch("key")
            assert pipe.get("key") == str(n).encode()
    assert made(store) == before


def test_listening_monitoring_and_blocking_leave_the_others_alone(store: Store) -> None:
    with store.client.pubsub() as pubsub:
        pubsub.subscribe("news")
        store.client.publish("news", "one")
        heard = [pubsub.get_message(timeout=1) for _ in range(2)]
        assert heard[1] is not None
        assert heard[1]["data"] == b"one"
    with store.client.monitor() as monitor:
        store.client.ping()
        heard_of: Any = monitor.next_command()
        assert heard_of["command"]
    assert store.client.blpop(["nothing"], timeout=0.01) is None
    store.client.rpush("list", "x")
    popped: Any = store.client.blpop(["list"], timeout=1)
    assert list(popped) == [b"list", b"x"]
    assert store.client.echo("mine") == b"mine"


def test_a_frozen_server_costs_the_connection_and_no_reply(store: Store) -> None:
    with RedisServer() as server:
        config = RedisConfig(url=server.url, socket_timeout=0.5)
        with Store(config) as slow:
            slow.client.set("secret", "of another")
            server.pause()
            with pytest.raises(redis.TimeoutError):
                slow.client.get("secret")
            server.resume()
            assert slow.client.get("nothing") is None


def test_the_client_waits_for_a_connection_as_redis_py_says(redis_server: RedisServer) -> None:
    config = RedisConfig(url=redis_server.url, max_connections=1, pool_timeout=0)
    with Store(config) as store, store.client.pubsub() as pubsub:
        pubsub.subscribe("news")
        with pytest.raises(redis.ConnectionError, match="all 1 connections"):
            store.client.ping()
        assert store.get_session("s") is None  # our own are others
