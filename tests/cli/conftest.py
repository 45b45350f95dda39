"""Fixtures: a user's home, and sessions of hers that were made by a program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Home

from miniagent_redis import RedisConfig, SessionAgent, SessionManager


@pytest.fixture
def home(tmp_path: Path, redis_url: str) -> Home:
    """Return the home of ada, who uses a real server."""
    return Home(tmp_path, redis_url)


@pytest.fixture
def manager(redis_url: str) -> Iterator[SessionManager]:
    """Yield a program's view of the same server."""
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        yield SessionManager(agent)
