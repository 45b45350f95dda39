"""In a notebook an event loop runs around each cell: async functions are run all the same."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.models import ExpiredSession
from miniagent_redis.runtime.clock import ManualClock

whose: ContextVar[str] = ContextVar("whose")


def in_a_cell(test: object) -> None:
    """Call blocking code where an event loop is running."""

    async def cell() -> None:
        test()  # type: ignore[operator]

    asyncio.run(cell())


def test_an_async_function_computes_a_value_and_sees_the_context_of_the_cell() -> None:
    def test() -> None:
        async def compute() -> list[str]:
            await asyncio.sleep(0)
            return [whose.get()]

        whose.set("ada's")
        with RedisSessionManager(RedisConfig(url="memory://")) as store:
            assert store.cache_get_or_set("k", compute) == ["ada's"]

    in_a_cell(test)
    assert not [t for t in threading.enumerate() if t.name == "miniagent-redis-async"]


def test_what_an_async_function_raises_reaches_the_cell() -> None:
    def test() -> None:
        async def compute() -> int:
            raise LookupError("no value")

        store = RedisSessionManager(RedisConfig(url="memory://"))
        with pytest.raises(LookupError, match="no value"):
            store.cache_get_or_set("k", compute)
        store.disconnect()

    in_a_cell(test)


def test_an_async_hook_is_told_what_has_expired() -> None:
    told = []

    def test() -> None:
        async def hook(expired: ExpiredSession) -> None:
            told.append(expired.session_id)

        clock = ManualClock()
        with RedisSessionManager(RedisConfig(url="memory://"), clock=clock) as store:
            store.create_session("s", ttl=60)
            clock.advance(61)
            assert store.sweep([hook]) == 1
            assert store.failed_expiry_hooks == 0

    in_a_cell(test)
    assert told == ["s"]
