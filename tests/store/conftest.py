"""Fixtures of the store's suite: stores on both backends, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.records.format import RecordFormat
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.crowded import Crowded
from tests.support.proxy import Proxy
from tests.support.scripts import load_scripts
from tests.support.servers import RedisServer
from tests.support.topologies import look_behind, proxy_before
from tests.support.words import OpenStore


@pytest.fixture(autouse=True)
def all_rights_behind_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what tests do behind the store have all rights, when the store itself has few."""
    look_behind(monkeypatch)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_store(store_url: str, clock: ManualClock) -> Iterator[OpenStore]:
    """Yield a function that opens another store on the same data, with settings of its own.

    Its class is one that uses names of its own wherever it may.
    """
    with ExitStack() as stack:

        def open_it(
            kind: type[RedisSessionManager] = Crowded,
            format: RecordFormat | None = None,
            **settings: object,
        ) -> RedisSessionManager:
            config = RedisConfig(url=store_url, **settings)  # type: ignore[arg-type]
            return stack.enter_context(kind(config, clock=clock, format=format))

        yield open_it


@pytest.fixture
def store(open_store: OpenStore) -> RedisSessionManager:
    return open_store()


@pytest.fixture
def client(store: RedisSessionManager) -> redis.Redis:
    """Return the plain client, to look behind the store and to damage what is there."""
    return store.client


@pytest.fixture
def real_store(redis_url: str) -> Iterator[RedisSessionManager]:
    """Yield a store on the shared real server, by the real clock."""
    with RedisSessionManager(RedisConfig(url=redis_url)) as opened:
        yield opened


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[Proxy]:
    """Yield a proxy in front of the shared real server, emptied."""
    with proxy_before(redis_server) as opened:
        yield opened


@pytest.fixture
def lossy_store(proxy: Proxy) -> Iterator[RedisSessionManager]:
    """Yield a store that reaches the real server through ``proxy``, its scripts already loaded."""
    with RedisSessionManager(RedisConfig(url=proxy.url)) as opened:
        load_scripts(proxy.upstream)
        yield opened


@pytest.fixture(scope="module")
def memory() -> Iterator[RedisSessionManager]:
    """Yield a store in memory for many examples, which each begin with ``flushdb``."""
    with RedisSessionManager(RedisConfig(url="memory://")) as opened:
        yield opened
