"""Locks for asyncio, in memory and on a real server: tasks that wait, give up, are cancelled."""

from __future__ import annotations

import asyncio

import pytest

from miniagent_redis.aio import InvalidInput, LockTimeout, RedisConfig, RedisSessionManager
from tests.support.coroutines import LIMIT, run


def test_a_lock_keeps_other_tasks_out(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            inside = 0

            async def enter() -> None:
                nonlocal inside
                async with manager.lock("door", timeout=LIMIT):
                    inside += 1
                    assert inside == 1
                    assert await manager.is_locked("door")
                    inside -= 1

            await asyncio.gather(*(enter() for _ in range(5)))
            assert not await manager.is_locked("door")

    run(main())


def test_a_lock_that_stays_taken_is_an_error_in_with_and_false_in_acquire(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            async with manager.lock("door"):
                with pytest.raises(LockTimeout):
                    async with manager.lock("door", timeout=0):
                        pass
                other = manager.lock("door")
                assert not await other.acquire(timeout=0)
            assert await other.acquire()
            assert await other.extend()
            assert await other.is_held()
            assert await other.release()
            assert not await other.release()

    run(main())


def test_a_lock_with_an_impossible_ttl_is_refused_on_entry() -> None:
    async def main() -> None:
        manager = RedisSessionManager(RedisConfig(url="memory://"))
        with pytest.raises(InvalidInput):
            async with manager.lock("door", ttl=0):
                pass
        await manager.disconnect()

    run(main())


def test_who_gives_up_waiting_for_a_lock_does_not_get_it_later(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            async with manager.lock("door"):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await manager.acquire_lock("door", timeout=LIMIT)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1), manager.lock("door", timeout=LIMIT):
                        pass
            assert not await manager.is_locked("door")
            assert not await manager.release_lock("door")

    run(main())


def test_many_who_wait_for_a_lock_do_not_hold_up_the_one_who_has_it(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            async with manager.lock("door"):
                waiting = [
                    asyncio.create_task(manager.lock("door").acquire(LIMIT)) for _ in range(40)
                ]
                assert all(await asyncio.gather(*(manager.health_check() for _ in range(20))))
                for task in waiting:
                    task.cancel()
                await asyncio.wait(waiting)
                assert all(task.cancelled() for task in waiting)
            assert not await manager.is_locked("door")

    run(main())
