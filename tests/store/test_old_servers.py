"""A server that is too old is told with the first connection to it, and by its version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager, StoreMisconfigured
from tests.support.cluster import ClusterServers
from tests.support.doctor_checks import examine
from tests.support.proxy import Proxy
from tests.support.sentinels import SERVICE, Watched
from tests.support.servers import RedisServer
from tests.support.told_sentinel import ToldSentinel
from tests.support.told_server import OldServer, bulk

OLD = ["one server", "Sentinel", "Cluster"]


@pytest.fixture
def old() -> Iterator[OldServer]:
    with OldServer() as server:
        yield server


@pytest.fixture(params=OLD)
def url(request: pytest.FixtureRequest, old: OldServer) -> Iterator[str]:
    if request.param == "one server":
        yield f"redis://{old.place}"
    elif request.param == "Cluster":
        yield f"redis+cluster://{old.place}"
    else:
        with ToldSentinel(old.server_address[1]) as sentinel:
            yield f"redis+sentinel://{sentinel.place}/{SERVICE}"


def connect(url: str, **settings: object) -> RedisSessionManager:
    return RedisSessionManager(RedisConfig(url=url, **settings))  # type: ignore[arg-type]


def test_one_that_is_too_old_is_told_at_connect_with_its_version(url: str, old: OldServer) -> None:
    with pytest.raises(StoreMisconfigured) as told:
        connect(url).connect()
    assert "is too old" in told.value.problem
    assert f"at {old.place} is Redis 5.0.14" in told.value.cause
    assert "version 7.0 or newer" in told.value.hint


def test_it_is_told_again_until_it_is_upgraded(url: str, old: OldServer) -> None:
    store = connect(url)
    for version in ("5.0.14", "6.2.14"):
        old.info = bulk(f"redis_version:{version}\r\n")
        with pytest.raises(StoreMisconfigured, match=version):
            store.connect()
    old.info = bulk("redis_version:7.0.0\r\n")
    store.connect()
    store.disconnect()


def test_in_the_other_protocol_too(url: str) -> None:
    with pytest.raises(StoreMisconfigured, match=r"5\.0\.14"):
        connect(url, protocol=3).connect()


@pytest.mark.parametrize(
    "info",
    [
        b"-NOPERM this user has no permissions to run the 'info' command\r\n",
        b"-ERR unknown command `INFO`, with args beginning with: \r\n",
        bulk(""),
        bulk("redis_version:unstable\r\n"),
        bulk("redis_version:5\r\n"),
        b"$-1\r\n",
        b":1\r\n",
        None,  # it closes the connection, as some proxies do
    ],
    ids=["forbidden", "unknown", "empty", "no number", "half a number", "nil", "junk", "closed"],
)
def test_one_that_does_not_tell_is_not_taken_to_be_old(
    url: str, old: OldServer, info: bytes | None
) -> None:
    """Then what it refuses tells."""
    old.info = info
    with connect(url) as store, pytest.raises(StoreMisconfigured) as told:
        store.create_session("s")
    assert "does not know scripts" in told.value.problem
    assert "version 7.0 or newer" in told.value.hint


def test_one_that_lets_nobody_in_says_why(url: str, old: OldServer) -> None:
    """Also as that is read as the answer to what redis-py sends first, and passed over there."""
    old.last_words = b"-DENIED Redis is running in protected mode\r\n"
    with pytest.raises(StoreMisconfigured) as told:
        connect(url).connect()
    assert "does not let us in" in told.value.problem
    assert "protected mode" in told.value.cause


@pytest.mark.parametrize("slots", [b":1\r\n", b"$-1\r\n", b"*1\r\n:1\r\n", b"*1\r\n*1\r\n:1\r\n",
                                   b"*1\r\n*3\r\n:0\r\n:9\r\n:1\r\n",
                                   b"*1\r\n*3\r\n+a\r\n+b\r\n*2\r\n+c\r\n:1\r\n",
                                   b"*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n:1\r\n:1\r\n"])  # fmt: skip
def test_what_says_nothing_of_slots_is_no_node_of_a_cluster(old: OldServer, slots: bytes) -> None:
    def answer(command: list[str]) -> bytes | None:
        return slots if command[0] == "CLUSTER" else OldServer.answer(old, command)

    old.answer = answer  # type: ignore[method-assign]
    with pytest.raises(StoreMisconfigured, match="is not a Redis") as told:
        connect(f"redis+cluster://{old.place}").connect()
    assert old.place in told.value.cause


def test_one_that_calls_itself_old_and_understands_us_is_fine(old: OldServer) -> None:
    """As servers do that are no Redis."""

    def answer(command: list[str]) -> bytes | None:
        return b":1\r\n" if command[0] == "EVAL" else OldServer.answer(old, command)

    old.answer = answer  # type: ignore[method-assign]
    with connect(f"redis://{old.place}") as store:
        assert store.health().state != "down"


def test_the_doctor_says_the_same(old: OldServer) -> None:
    checks = examine(f"redis://{old.place}")
    assert checks["reachable"].verdict == "fail"
    assert "5.0.14" in checks["reachable"].detail + checks["reachable"].fix


def test_each_server_is_asked_once_however_many_connections_there_are() -> None:
    with RedisServer() as server, Proxy(server.socket) as proxy, connect(proxy.url) as store:
        links = [store.parts.core.connections.pool.take() for _ in range(4)]
        for link in links:
            store.parts.core.connections.pool.give(link, in_order=True)
        stats = server.client().info("commandstats")
        assert stats["cmdstat_info"]["calls"] <= 2  # the other is about what it keeps


def test_real_ones_are_fine_however_they_are_run() -> None:
    with ExitStack() as stack:
        urls = [
            stack.enter_context(RedisServer()).url,
            stack.enter_context(Watched(replicas=1)).url,
            stack.enter_context(ClusterServers(replicas=False)).url,
        ]
        for url in urls:
            store = stack.enter_context(connect(url))
            for number in range(6):
                store.create_session(f"s{number}")
                store.append_to_thread(f"s{number}", Message("user", "x"))
