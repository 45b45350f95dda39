"""Turns of asyncio that go on by themselves: they hold no thread while their model is silent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from miniagent_redis.aio import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
)
from tests.support.coroutines import LIMIT, run

Messages = list[dict[str, Any]]


def agent_of(url: str, model: Any, lease: float = 30.0) -> SessionAgent:
    config = AgentConfig(model=model, turn_threads=2, busy_timeout=LIMIT)
    redis = RedisConfig(url=url, call_threads=2, lease_ttl=lease)
    return SessionAgent(config, redis_config=redis)


def threads_that_work() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("miniagent")]


def test_turns_that_go_on_by_themselves_hold_no_threads(store_url: str) -> None:
    async def main() -> None:
        go, silent = asyncio.Event(), 0

        async def answer(messages: Messages) -> str:
            nonlocal silent
            silent += 1
            await go.wait()
            return "Here."

        async with agent_of(store_url, answer) as agent:
            manager = SessionManager(agent)
            ids = [await manager.create_or_resume_session() for _ in range(60)]

            async def read(session_id: str) -> list[EventType]:
                stream = manager.stream(session_id, "Hi!", on_close="finish")
                return [event.type async for event in stream]

            reading = [asyncio.create_task(read(session_id)) for session_id in ids[:20]]
            leaving = [asyncio.create_task(read(session_id)) for session_id in ids[20:40]]
            started = [await manager.start(session_id, "Hi!") for session_id in ids[40:]]
            while silent < len(ids):
                await asyncio.sleep(0.01)
            for each in leaving:
                each.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            assert agent.stats().running_turns == len(ids)
            assert len(threads_that_work()) < len(ids) / 2
            go.set()
            for each in reading:
                assert (await each)[-1] is EventType.AGENT_RESPONSE
            for session_id, (turn_id, cursor) in zip(ids[40:], started, strict=True):
                async for event in manager.watch(session_id, cursor, LIMIT, turn_id=turn_id):
                    assert event.type is not EventType.TURN_FAILED
            assert await agent.shutdown()
            async with agent:
                for session_id in ids:
                    stored = await manager.get_history(session_id)
                    assert [message["content"] for message in stored] == ["Hi!", "Here."]

    run(main())


def test_a_started_turn_that_shutdown_leaves_is_finished_by_the_next_process(
    store_url: str,
) -> None:
    async def main() -> None:
        began, go = asyncio.Event(), asyncio.Event()

        async def answer(messages: Messages) -> str:
            began.set()
            await go.wait()
            return "Here."

        async with agent_of(store_url, answer, 0.6) as agent:
            manager = SessionManager(agent)
            session_id = await manager.create_or_resume_session()
            turn_id, _ = await manager.start(session_id, "Hi!")
            await began.wait()
            assert not await agent.shutdown(0.1)
        go.set()
        async with agent_of(store_url, answer, 0.6) as agent:
            manager = SessionManager(agent)
            result = await manager.run(session_id, "Hi!", turn_id=turn_id)
            assert (result.text, result.interrupted) == ("Here.", False)
            assert len(await manager.get_history(session_id)) == 2

    run(main())


def test_a_started_turn_outlives_the_event_loop_that_began_it(store_url: str) -> None:
    def answer(messages: Messages) -> str:
        began.set()
        go.wait(LIMIT)
        return "Here."

    async def begin() -> tuple[str, str]:
        await agent.initialize()
        session_id = await SessionManager(agent).create_or_resume_session()
        turn_id, _ = await SessionManager(agent).start(session_id, "Hi!")
        await asyncio.to_thread(began.wait, LIMIT)
        return session_id, turn_id

    async def read() -> str:
        go.set()
        async with agent:
            return (await SessionManager(agent).run(session_id, "Hi!", turn_id=turn_id)).text

    began, go = threading.Event(), threading.Event()
    agent = agent_of(store_url, answer)
    session_id, turn_id = run(begin())
    assert run(read()) == "Here."
