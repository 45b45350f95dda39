"""Fixtures: a user's home, sessions of hers that were made by a program, and a fit server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, SessionAgent, SessionManager
from tests.support.command_line import Home
from tests.support.servers import RedisServer


@pytest.fixture
def home(tmp_path: Path, redis_url: str) -> Home:
    """Return the home of ada, who uses a real server."""
    return Home(tmp_path, redis_url)


@pytest.fixture
def manager(redis_url: str) -> Iterator[SessionManager]:
    """Yield a program's view of the same server."""
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        yield SessionManager(agent)


@pytest.fixture(scope="module")
def durable() -> Iterator[RedisServer]:
    """Yield a server of which the doctor has nothing to say."""
    with RedisServer("--appendonly", "yes") as server:
        yield server


@pytest.fixture
def store(durable: RedisServer) -> Iterator[RedisSessionManager]:
    """Yield the emptied store of that server, with one session."""
    with RedisSessionManager(RedisConfig(url=durable.url)) as store:
        store.client.flushdb()
        store.create_session("s", user_id="ada")
        yield store
