"""Commands of a user that wait in the server: for as long as they say, not for the next reply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest
import redis

from miniagent_redis import RedisConfig, RedisSessionManager, aio
from miniagent_redis.connection.blocking import waits_for
from miniagent_redis.connection.link import Link
from tests.support.servers import RedisServer

QUICK = 0.2  # seconds until a reply is late


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


def config(server: RedisServer) -> RedisConfig:
    return RedisConfig(url=server.url, socket_timeout=QUICK)


POPS: list[Callable[[Any, float], Any]] = [
    lambda client, seconds: client.blpop("queue", seconds),
    lambda client, seconds: client.brpop(["other", "queue"], seconds),
    lambda client, seconds: client.blmove("queue", "taken", seconds),
    lambda client, seconds: client.bzpopmin("scores", seconds),
    lambda client, seconds: client.blmpop(seconds, 1, "queue", direction="LEFT"),
    lambda client, seconds: client.xread({"stream": "$"}, block=round(seconds * 1000)),
    lambda client, seconds: client.execute_command("brpop", "queue", seconds),
]


@pytest.mark.parametrize("pop", POPS)
def test_a_blocking_command_waits_for_as_long_as_it_says(server: RedisServer, pop: Any) -> None:
    with RedisSessionManager(config(server)) as store:
        assert not pop(store.client, 3 * QUICK)
        assert not pop(store.client, 3 * QUICK)
        # And the connection waits as usual again.
        assert store.client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            store.client.get("x")
        server.resume()


def test_no_call_of_the_store_gives_the_server_more_time(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(Link, "uses_wire", False)
    monkeypatch.setattr(Link, "_wait_longer", lambda link, seconds: given.append(seconds))
    with RedisSessionManager(config(server)) as store:
        store.create_session("s")
        store.list_sessions()
    assert set(given) == {0}


def test_a_blocking_command_without_a_limit_gets_what_comes(server: RedisServer) -> None:
    with RedisSessionManager(config(server)) as store:
        later = threading.Timer(4 * QUICK, lambda: server.client().rpush("queue", "x"))
        later.start()
        assert store.client.blpop("queue", 0) is not None
        later.join()
        server.pause()
        with pytest.raises(redis.TimeoutError):  # it waits as usual again
            store.client.get("x")
        server.resume()


def test_a_blocking_command_in_a_pipeline_waits_too(server: RedisServer) -> None:
    with RedisSessionManager(config(server)) as store:
        pipeline = store.client.pipeline(transaction=False)
        pipeline.blpop("queue", 3 * QUICK)
        pipeline.ping()
        assert pipeline.execute() == [None, True]


def test_a_server_that_is_silent_for_longer_than_the_command_says_is_told(
    server: RedisServer,
) -> None:
    with RedisSessionManager(config(server)) as store:
        store.client.ping()
        server.pause()
        with pytest.raises(redis.TimeoutError):
            store.client.blpop("queue", QUICK)
        server.resume()


@pytest.mark.parametrize("pop", POPS)
def test_the_client_for_asyncio_waits_as_long(server: RedisServer, pop: Any) -> None:
    async def main() -> None:
        async with aio.RedisSessionManager(config(server)) as store:
            for _ in range(2):
                assert not await pop(store.client, 3 * QUICK)
            assert await store.client.ping()
            server.pause()
            with pytest.raises(redis.TimeoutError):
                await store.client.get("x")
            server.resume()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("GET", "BLPOP"), 0), (("BLPOP", "a", "b", 3), 3), (("BRPOP", "a", 0), inf),
        ((b"BLPOP", b"a", b"1.5"), 1.5), (("BLMPOP", "2", 1, "k", "LEFT"), 2),
        (("XREAD", "BLOCK", 1500, "STREAMS", "s", "$"), 1.5), (("XREAD", b"block", 0), inf),
        (("XREAD", "STREAMS", "s", "0"), 0), (("WAIT", 1, 500), 0.5), (("BLPOP",), 0),
        (("BLPOP", "a", "x"), 0), (("WAITAOF", 1, 1, 0), inf),
    ],
)  # fmt: skip
def test_what_a_command_says_of_how_long_it_waits(command: Any, seconds: float) -> None:
    assert waits_for(command) == seconds
