"""Messages that wait for a busy session: they hold up nobody, and take turns."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from miniagent_redis.aio import (
    AgentConfig,
    RedisConfig,
    SessionAgent,
    SessionBusy,
    SessionManager,
)
from tests.support.coroutines import LIMIT, run

Messages = list[dict[str, Any]]


class Gate:
    """An async model that answers a message "wait" when it is let go."""

    def __init__(self) -> None:
        self.began, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, messages: Messages) -> str:
        said = str(messages[-1]["content"])
        if said == "wait":
            self.began.set()
            await self.go.wait()
        return f"re: {said}"


def agent_of(url: str, model: Any, **options: Any) -> SessionAgent:
    config = AgentConfig(model=model, turn_threads=2, **options)
    return SessionAgent(config, redis_config=RedisConfig(url=url, call_threads=2))


def test_forty_messages_that_wait_for_one_session_delay_nobody_else(store_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with agent_of(store_url, gate, busy_timeout=LIMIT) as agent:
            manager = SessionManager(agent)
            busy, other = [await manager.create_or_resume_session() for _ in range(2)]
            first = asyncio.create_task(manager.chat(busy, "wait"))
            await gate.began.wait()
            chats = [asyncio.create_task(manager.chat(busy, str(n))) for n in range(40)]
            await asyncio.sleep(0.5)
            before = time.monotonic()
            assert await manager.chat(other, "Hello!") == "re: Hello!"
            assert await manager.get_history(busy) == []
            assert time.monotonic() - before < 2
            names = [thread.name for thread in threading.enumerate()]
            assert sum("miniagent-redis-aio" in name for name in names) <= 4
            gate.go.set()
            assert await first == "re: wait"
            assert await asyncio.gather(*chats) == [f"re: {n}" for n in range(40)]
            history = await manager.get_history(busy)
            assert [each["role"] for each in history] == ["user", "assistant"] * 41

    run(main())


def test_one_that_waits_and_is_cancelled_goes_at_once_and_lets_others_go_on(
    store_url: str,
) -> None:
    async def main() -> None:
        gate = Gate()
        async with agent_of(store_url, gate, busy_timeout=LIMIT) as agent:
            manager = SessionManager(agent)
            busy = await manager.create_or_resume_session()
            first = asyncio.create_task(manager.chat(busy, "wait"))
            await gate.began.wait()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await manager.chat(busy, "too late")
            assert not first.done()
            last = asyncio.create_task(manager.chat(busy, "last"))
            await asyncio.sleep(0.1)
            gate.go.set()
            assert list(await asyncio.gather(first, last)) == ["re: wait", "re: last"]
            assert len(await manager.get_history(busy)) == 4

    run(main())


def test_waiting_ends_with_session_busy(store_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with agent_of(store_url, gate, busy_timeout=0.3) as agent:
            manager = SessionManager(agent)
            busy = await manager.create_or_resume_session()
            first = asyncio.create_task(manager.chat(busy, "wait"))
            await gate.began.wait()
            with pytest.raises(SessionBusy):
                await manager.chat(busy, "Hello!")
            with pytest.raises(SessionBusy):
                await manager.resume_turn(busy)
            with pytest.raises(SessionBusy):
                async for _ in manager.stream(busy, "Hello!"):
                    pass
            gate.go.set()
            assert await first == "re: wait"

    run(main())
