"""Messages of channels for asyncio: heard by ``async for``, left and taken up again."""

from __future__ import annotations

import asyncio

import pytest

from miniagent_redis.aio import InvalidInput, RedisConfig, RedisSessionManager
from tests.support.coroutines import run


def test_messages_arrive_by_async_for(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            await manager.subscribe(["news"])
            for number in range(3):
                await manager.publish("news", {"number": number})
            seen = []
            async for message in manager.get_messages():
                seen.append(message)
                if len(seen) == 3:
                    break
            assert seen == [{"channel": "news", "data": {"number": n}} for n in range(3)]

    run(main())


def test_a_quiet_listener_can_be_cancelled_and_misses_nothing_later(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            await manager.subscribe(["news"])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(manager.get_messages())
            await manager.publish("news", "hello")
            assert (await anext(manager.get_messages()))["data"] == "hello"

    run(main())


def test_a_listener_ends_with_the_subscription(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            await manager.subscribe(["news"])
            heard = asyncio.Event()

            async def listen() -> None:
                async for _ in manager.get_messages():
                    heard.set()

            listener = asyncio.create_task(listen())
            await manager.publish("news", "hello")
            await heard.wait()
            await manager.unsubscribe()
            await listener

    run(main())


def test_listening_without_a_subscription_is_an_error() -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url="memory://")) as manager:
            with pytest.raises(InvalidInput):
                await anext(manager.get_messages())

    run(main())
