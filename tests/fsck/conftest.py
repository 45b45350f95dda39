"""Fixtures: a store with one session that is all in order, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.runtime.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(store_url: str, clock: ManualClock) -> Iterator[RedisSessionManager]:
    """Yield a store with one session of ada's that has a turn, all in order."""
    with RedisSessionManager(RedisConfig(url=store_url), clock=clock) as store:
        store.create_session("s", {"a": 1}, user_id="ada")
        store.commit_turn(store.begin_turn("s", "Hi"), [Message("assistant", "Hello!")])
        store.parts.index.flush()
        assert check(store) == []
        yield store


@pytest.fixture
def client(store: RedisSessionManager) -> redis.Redis:
    return store.client
