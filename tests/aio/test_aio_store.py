"""The store for asyncio, in memory and on a real server: sessions, turns, clients, formats."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from miniagent_redis.aio import (
    InvalidInput,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionThread,
    StoreUnavailable,
    get_redis_manager,
)
from miniagent_redis.records.format import OwnFormat
from tests.support.coroutines import LIMIT, run
from tests.support.servers import RedisServer


def test_sessions_are_created_read_changed_and_removed(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            assert await manager.create_session("s", {"a": 1})
            assert await manager.update_session("s", {"a": 2})
            assert await manager.get_session("s") == {"a": 2}
            assert [entry["session_id"] for entry in await manager.list_sessions()] == ["s"]
            assert await manager.delete_session("s")
            assert await manager.get_session("s") is None

    run(main())


def test_threads_are_exported_imported_copied_and_cut(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            for name in ("s", "t", "u"):
                await manager.create_session(name)
            await manager.append_to_thread("s", [Message("user", "a"), Message("user", "b")])
            header, *lines = await manager.export_thread("s")
            assert header["message_count"] == len(lines) == 2
            assert await manager.import_thread("t", lines) == 2
            assert await manager.copy_thread("t", "u", upto=1) == 1
            assert await manager.truncate_thread("t", 1) == 1
            assert await manager.renew_session_id("u", new_id="v") == "v"
            ends = [(await manager.load_thread(name)).messages[-1].text for name in "stv"]
            assert ends == ["b", "a", "a"]

    run(main())


def test_an_outage_raises_the_same_error() -> None:
    async def main() -> None:
        manager = RedisSessionManager(RedisConfig(url="unix:///nowhere/at/all"))
        with pytest.raises(StoreUnavailable):
            await manager.connect()
        assert not await manager.health_check()
        await manager.disconnect()

    run(main())


def test_the_client_is_an_asyncio_client_for_pipelines(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            assert manager.client is manager.client
            assert manager._client is manager.client  # as programs for the original call it
            async with manager.client.pipeline() as pipe:
                pipe.set("key1", "value1")
                pipe.get("key1")
                assert await pipe.execute() == [True, b"value1"]

    run(main())


def test_each_event_loop_has_a_client_of_its_own(store_url: str) -> None:
    manager = RedisSessionManager(RedisConfig(url=store_url))

    async def main() -> int:
        await manager.client.set("key", "value")
        client = manager.client
        await manager.disconnect()
        return id(client)

    run(main())
    run(main())


def test_a_cancelled_begin_leaves_no_turn_behind(redis_server: RedisServer, redis_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=redis_url)) as manager:
            await manager.create_session("s")
            redis_server.pause()
            try:
                begin = asyncio.create_task(manager.begin_turn("s", "Hello!"))
                await asyncio.wait([begin], timeout=0.05)
                begin.cancel()
                await asyncio.sleep(0)
            finally:
                redis_server.resume()
            with pytest.raises(asyncio.CancelledError):
                await begin
            assert (await manager.session_state("s")).open_turn is None
            turn = await manager.begin_turn("s", "Hello again!", on_busy="reject")
            await manager.commit_turn(turn, [Message("assistant", "Hi.")])

    run(main())


def test_who_gives_up_waiting_for_a_turn_to_end_begins_none(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as manager:
            await manager.create_session("s")
            turn = await manager.begin_turn("s", "one")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await manager.begin_turn("s", "two", busy_timeout=LIMIT)
            await manager.abort_turn(turn)
            assert (await manager.session_state("s")).open_turn is None

    run(main())


def test_a_subclass_stores_in_its_own_format(store_url: str) -> None:
    class Pickling(RedisSessionManager):
        def serialize(self, data: Any) -> bytes:
            return b"P" + pickle.dumps(data)

        def deserialize(self, data: bytes) -> Any:
            return pickle.loads(data[1:])

    async def main() -> None:
        async with Pickling(RedisConfig(url=store_url)) as manager:
            await manager.create_session("s", {"a": 1})
            stored: Any = await manager.client.get("session:{s}")
            assert stored.startswith(b"P")
            assert await manager.get_session("s") == {"a": 1}

    run(main())


def test_a_subclass_may_add_to_the_usual_format(store_url: str) -> None:
    class Reversing(RedisSessionManager):
        def serialize(self, data: Any) -> bytes:
            return super().serialize(data)[::-1]

        def deserialize(self, data: bytes) -> Any:
            return super().deserialize(data[::-1])

    async def main() -> None:
        async with Reversing(RedisConfig(url=store_url)) as manager:
            await manager.create_session("s", {"a": 1})
            assert await manager.get_session("s") == {"a": 1}

    run(main())


def test_a_subclass_decides_what_may_be_stored(store_url: str) -> None:
    class Pickling(RedisSessionManager):
        def serialize(self, data: Any) -> bytes:
            return pickle.dumps(data)

        def deserialize(self, data: bytes) -> Any:
            return pickle.loads(data)

    rich = {"token": b"\x00\xff", "tags": {1, 2}}

    async def main() -> None:
        async with Pickling(RedisConfig(url=store_url)) as manager:
            await manager.create_session("s", rich)
            await manager.append_to_thread("s", Message("user", "x", metadata=rich))
            await manager.cache_set("k", rich)
            assert await manager.get_session("s") == rich
            assert (await manager.load_thread("s")).messages[0].metadata == rich
            assert await manager.cache_get("k") == rich

    run(main())


def test_a_format_may_be_handed_in_and_only_one(store_url: str) -> None:
    class Own(RedisSessionManager):
        def serialize(self, data: Any) -> bytes:
            return b""

    form = OwnFormat(pickle.dumps, pickle.loads)

    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url), format=form) as manager:
            await manager.create_session("s", {"a": {1}})
            assert await manager.get_session("s") == {"a": {1}}

    run(main())
    with pytest.raises(InvalidInput, match="Own has a format of its own"):
        Own(RedisConfig(url=store_url), format=form)


def test_the_same_settings_give_the_same_manager() -> None:
    config = RedisConfig(url="memory://shared-by-a-test-of-aio")

    async def main() -> RedisSessionManager:
        manager = await get_redis_manager(config)
        assert await get_redis_manager(config) is manager
        assert await manager.health_check()
        await manager.disconnect()
        return manager

    assert run(main()) is run(main())


@pytest.fixture
def thread_store(store_url: str) -> RedisSessionManager:
    return RedisSessionManager(RedisConfig(url=store_url))


def test_a_thread_is_loaded_and_then_shows_its_messages(thread_store: RedisSessionManager) -> None:
    async def main() -> None:
        async with thread_store as store:
            await store.create_session("s")
            await store.append_to_thread("s", [Message("user", "one"), Message("user", "two")])
            thread = SessionThread(store, "s")
            with pytest.raises(InvalidInput, match=r"await thread\.load"):
                len(thread)
            assert [message.text for message in (await thread.load()).messages] == ["one", "two"]
            await store.append_to_thread("s", Message("user", "three"))
            assert len(await thread.load()) == 2
            assert len(await thread.refresh()) == 3

    run(main())


def test_a_thread_saves_what_is_added_and_forgets_what_is_cleared(
    thread_store: RedisSessionManager,
) -> None:
    async def texts(thread: AsyncIterator[Message]) -> list[str]:
        return [message.text async for message in thread]

    async def main() -> None:
        async with thread_store as store:
            await store.create_session("s")
            thread = SessionThread(store, "s")
            await thread.add_message("user", "one")
            assert await texts(aiter(thread)) == ["one"]
            await thread.add_message("user", "two")
            assert await texts(aiter(SessionThread(store, "s"))) == ["one", "two"]
            assert await thread.clear() == 2
            assert await texts(aiter(thread)) == []
            assert list(thread.unreadable) == []

    run(main())


def test_tasks_that_want_the_same_value_compute_it_once(store_url: str) -> None:
    async def main() -> None:
        computed: list[int] = []

        async def compute() -> int:
            computed.append(1)
            await asyncio.sleep(0.05)
            return 42

        async with RedisSessionManager(RedisConfig(url=store_url)) as store:
            wishes = (store.cache_get_or_set("k", compute) for _ in range(20))
            assert await asyncio.gather(*wishes) == [42] * 20
            assert store.cache_stats.hits == 19
        assert len(computed) == 1

    run(main())


def test_a_cancelled_task_waits_no_longer_for_a_value(store_url: str) -> None:
    async def main() -> None:
        async with RedisSessionManager(RedisConfig(url=store_url)) as store:
            computing, finish = asyncio.Event(), asyncio.Event()

            async def compute() -> int:
                computing.set()
                await finish.wait()
                return 42

            first = asyncio.create_task(store.cache_get_or_set("k", compute))
            await computing.wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.cache_get_or_set("k", compute), 0.2)
            finish.set()
            assert await first == 42

    run(main())
