"""The name of connections, ``client_name``: CLIENT LIST has it; no harm where that is forbidden.

The store's own connections, and those of the users' clients, which are redis-py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis

from miniagent_redis import RedisConfig, RedisSessionManager, aio
from tests.support.cluster import ClusterServers
from tests.support.servers import RedisServer


@pytest.fixture(scope="module", params=["server", "cluster"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, redis.Redis]]:
    """Yield a url without a user, and a client for its administrator."""
    if request.param == "server":
        with RedisServer(tcp=True) as server:
            yield server.url, server.client()
        return
    with ClusterServers(1, replicas=False) as cluster:
        yield cluster.url, cluster.masters[0].client


@pytest.fixture(params=[True, False], ids=["allowed", "forbidden"])
def is_allowed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def config(served: tuple[str, redis.Redis], is_allowed: bool) -> RedisConfig:
    url, admin = served
    admin.acl_setuser(
        "app", reset=True, enabled=True, passwords=["+pw"], categories=["+@all"], keys=["*"],
        channels=["*"], commands=[] if is_allowed else ["-client"],
    )  # fmt: skip
    return RedisConfig(url=url.replace("://", "://app:pw@", 1), client_name="web")


def unnamed(admin: redis.Redis) -> list[str]:
    return [one["cmd"] for one in admin.client_list() if one["user"] == "app" and not one["name"]]


# redis-py 6.0 warns of what it does itself.
@pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage")
def test_of_a_store_and_its_client(
    served: tuple[str, redis.Redis], config: RedisConfig, is_allowed: bool
) -> None:
    with RedisSessionManager(config) as store:
        assert store.health_check()
        assert store.client.set("mine", 1)
        assert "web" in {one["name"] for one in served[1].client_list()} or not is_allowed
        assert store.client.get("mine") == b"1"


def test_of_the_asyncio_client(
    served: tuple[str, redis.Redis], config: RedisConfig, is_allowed: bool
) -> None:
    async def use() -> list[str]:
        async with aio.RedisSessionManager(config) as store:
            assert await store.client.set("mine", 1)
            assert await store.client.get("mine") == b"1"
            return unnamed(served[1])

    found = asyncio.run(use())
    assert ("get" in found) is not is_allowed
