"""A store that is handed to an agent stays what it is when the agent is shut down."""

from __future__ import annotations

import asyncio

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager, SessionAgent, SessionManager, aio


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_an_agent_that_is_shut_down_leaves_the_store_it_was_given(
    redis_url: str, tenant: str | None
) -> None:
    with RedisSessionManager(RedisConfig(url=redis_url)) as store:
        assert store.acquire_lock("mine")
        store.subscribe(["news"])
        first, second = (SessionAgent(store=store).initialize() for _ in range(2))
        work = first if tenant is None else first.tenant(tenant)
        sid = SessionManager(work).create_or_resume_session("ada")
        for _ in range(30):
            SessionManager(work).chat(sid, "Hello")
        assert first.shutdown()
        assert store.is_locked("mine")
        assert store.parts.core.connections.is_open
        store.publish("news", "still heard")
        assert [note["data"] for note in store.get_messages(timeout=0.1)] == ["still heard"]
        with RedisSessionManager(work.store.config) as other:  # what was noted is written
            assert other.usage().turns == 30
        manager = SessionManager(second)
        assert manager.chat(manager.create_or_resume_session(), "Hello")
        second.shutdown()


def test_an_agent_for_asyncio_leaves_the_store_it_was_given(redis_url: str) -> None:
    async def main() -> None:
        async with aio.RedisSessionManager(RedisConfig(url=redis_url)) as store:
            assert await store.acquire_lock("mine")
            async with aio.SessionAgent(store=store) as agent:
                manager = aio.SessionManager(agent)
                await manager.chat(await manager.create_or_resume_session(), "Hello")
            assert await store.is_locked("mine")
            assert store.parts.core.connections.is_open
            assert (await store.usage()).turns == 1

    asyncio.run(main())


def test_an_agent_closes_a_store_of_its_own(redis_url: str) -> None:
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        assert agent.store.parts.core.connections.is_open
    assert not agent.store.parts.core.connections.is_open
