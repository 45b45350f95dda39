"""The examples of the system that this one follows, with their import lines changed only.

``_client`` there is ``client`` here.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from miniagent_redis import aio
from miniagent_redis.aio import (
    AgentConfig,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)


def redis_config(url: str) -> RedisConfig:
    return RedisConfig(
        url=url,
        session_ttl=3600,  # 1 hour
        max_session_size=1024 * 1024,  # 1MB
        max_connections=100,
        socket_timeout=2,
        retry_on_timeout=True,
    )


def test_basic_usage_and_session_metrics(redis_url: str) -> None:
    async def main() -> None:
        agent = SessionAgent(config=AgentConfig(name="MyBot"), redis_config=redis_config(redis_url))
        await agent.initialize()
        manager = SessionManager(agent)
        session_id = await manager.create_or_resume_session(user_id="user123")
        response = await manager.chat(session_id, "Hello!")
        assert response
        response = await manager.chat(session_id, "What did I just say?")  # Remembers context
        assert "Hello!" in response

        sessions = await manager.list_sessions()
        for session in sessions:
            assert session["session_id"] == session_id
            assert session["user_id"] == "user123"
            assert session["message_count"] == 4
            assert session["created_at"]
        assert len(sessions) == 1
        await agent.shutdown()

    asyncio.run(main())


def test_sessions_persist_across_restarts(redis_url: str) -> None:
    async def first() -> str:
        async with SessionAgent(redis_config=redis_config(redis_url)) as agent:
            manager = SessionManager(agent)
            session_id = await manager.create_or_resume_session(user_id="user123")
            await manager.chat(session_id, "My name is Ada.")
            return session_id

    async def second(session_id: str) -> str:
        async with SessionAgent(redis_config=redis_config(redis_url)) as agent:
            manager = SessionManager(agent)
            assert session_id == await manager.create_or_resume_session("user123", session_id)
            return await manager.chat(session_id, "What is my name?")

    assert "Ada" in asyncio.run(second(asyncio.run(first())))


def test_testing() -> None:
    async def test_redis() -> None:
        from miniagent_redis.aio import get_redis_manager

        manager = await get_redis_manager()

        # Health check
        assert await manager.health_check()

        # Test session operations
        session_id = "test_session"
        data = {"user": "test", "timestamp": "2024-01-01"}

        # Create
        assert await manager.create_session(session_id, data)

        # Read
        retrieved = await manager.get_session(session_id)
        assert retrieved is not None
        assert retrieved["user"] == "test"

        # Update
        data["status"] = "active"
        assert await manager.update_session(session_id, data)

        # Delete
        assert await manager.delete_session(session_id)

    asyncio.run(test_redis())


def test_pipelining_and_rate_limiting_by_hand() -> None:
    async def main() -> None:
        redis_manager = await aio.get_redis_manager()
        async with redis_manager.client.pipeline() as pipe:
            pipe.set("key1", "value1")
            pipe.set("key2", "value2")
            await pipe.execute()

        async def rate_limit(user_id: str, max_requests: int = 10) -> bool:
            key = f"rate_limit:{user_id}"
            count = await redis_manager.client.incr(key)
            if count == 1:
                await redis_manager.client.expire(key, 60)  # 1 minute window
            return bool(count <= max_requests)

        assert [await rate_limit("u", 2) for _ in range(3)] == [True, True, False]
        await redis_manager.disconnect()

    asyncio.run(main())


def test_event_streaming() -> None:
    async def main() -> None:
        redis_manager = await aio.get_redis_manager()
        # Subscribe to session events
        await redis_manager.subscribe(["session_updates"])
        await redis_manager.create_session("s")
        await redis_manager.touch_session("s")
        redis_manager.parts.index.flush()
        # Listen for updates
        async for message in redis_manager.get_messages():
            assert message["channel"] == "session_updates"
            assert message["data"]["session_id"] == "s"
            break
        await redis_manager.disconnect()

    asyncio.run(main())


def test_custom_serialization() -> None:
    class CustomRedisManager(RedisSessionManager):
        def serialize(self, data: Any) -> bytes:
            return json.dumps({"wrapped": data}).encode()

        def deserialize(self, data: bytes) -> Any:
            return json.loads(data)["wrapped"]

    async def main() -> None:
        async with CustomRedisManager() as manager:
            await manager.create_session("s", {"a": 1})
            assert await manager.get_session("s") == {"a": 1}

    asyncio.run(main())
