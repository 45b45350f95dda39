"""Agents for asyncio, in memory and on a real server: many at once, streamed, opened twice."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest

from miniagent_redis.aio import (
    EventType,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
)
from miniagent_redis.llm import ScriptedModel
from tests.support.async_agents import SlowModel, manager_of
from tests.support.coroutines import LIMIT, reached, run
from tests.support.servers import RedisServer


def test_twenty_sessions_chat_at_once(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:

            async def converse(name: str) -> str:
                session_id = await manager.create_or_resume_session(user_id=name)
                await manager.chat(session_id, f"My name is {name}.")
                return await manager.chat(session_id, "What is my name?")

            names = [f"Ada{chr(ord('a') + number)}" for number in range(20)]
            answers = await asyncio.gather(*map(converse, names))
            for name, answer in zip(names, answers, strict=True):
                assert name in answer
            assert len(await manager.list_sessions()) == 20

    run(main())


def test_messages_to_one_session_take_turns(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            session_id = await manager.create_or_resume_session()
            await asyncio.gather(*(manager.chat(session_id, f"Hello {n}") for n in range(5)))
            roles = [message["role"] for message in await manager.get_history(session_id)]
            assert roles == ["user", "assistant"] * 5

    run(main())


def test_a_long_chat_does_not_delay_the_history(store_url: str) -> None:
    async def main() -> None:
        model = SlowModel()
        async with manager_of(store_url, model) as manager:
            ids = [await manager.create_or_resume_session() for _ in range(40)]
            chats = [asyncio.create_task(manager.chat(session_id, "Hello!")) for session_id in ids]
            await reached(model.began)
            assert await manager.get_history(ids[0]) == []
            assert not any(chat.done() for chat in chats)
            model.go.set()
            assert await asyncio.gather(*chats) == ["one two"] * 40

    run(main())


def test_submit_gives_a_task(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            session_id = await manager.create_or_resume_session()
            task = manager.agent.submit(session_id, "What is 12 * 3?")
            assert "36" in (await task).text
            with pytest.raises(SessionNotFound):
                await manager.agent.submit("nobody", "Hello!")

    run(main())


def test_an_error_of_the_model_comes_out_as_it_does_in_the_blocking_library(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url, ScriptedModel([ValueError("no")])) as manager:
            session_id = await manager.create_or_resume_session()
            with pytest.raises(ModelError):
                await manager.chat(session_id, "Hello!")
            assert await manager.get_history(session_id) == []

    run(main())


def test_the_thread_of_an_agent_follows_its_turns(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            session_id = await manager.create_or_resume_session()
            thread = await manager.agent.thread(session_id).load()
            assert len(thread) == 0
            await manager.chat(session_id, "Hello!")
            assert [message.role for message in thread.messages] == ["user", "assistant"]
            assert await manager.clear_history(session_id)
            assert await manager.end_session(session_id)

    run(main())


def test_a_stream_ends_with_the_answer(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url, ScriptedModel([["Hel", "lo"]])) as manager:
            session_id = await manager.create_or_resume_session()
            events = [event async for event in manager.stream(session_id, "Hi!")]
            kinds = [event.type for event in events]
            assert kinds[0] is EventType.TURN_STARTED
            assert [e.text for e in events if e.type is EventType.TEXT_DELTA] == ["Hel", "lo"]
            assert kinds[-1] is EventType.AGENT_RESPONSE
            assert events[-1].text == "Hello"

    run(main())


def test_a_stream_that_is_left_early_keeps_what_was_shown(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            session_id = await manager.create_or_resume_session()
            async with aclosing(manager.stream(session_id, "Hello!")) as events:
                async for event in events:
                    if event.type is EventType.TEXT_DELTA:
                        break
            _, answer = await manager.get_history(session_id)
            assert answer["metadata"]["interrupted"] == "stopped"
            assert (await manager.store.session_state(session_id)).open_turn is None

            async for _ in manager.stream(session_id, "Hello!"):
                break  # closed by the event loop, soon
            await manager.chat(session_id, "Hello again!")
            history = await manager.get_history(session_id)
            assert [message["role"] for message in history] == ["user", "assistant"] * 2
            assert history[2]["content"] == "Hello again!"

    run(main())


def test_an_agent_outlives_its_event_loop(redis_url: str) -> None:
    agent = SessionAgent(redis_config=RedisConfig(url=redis_url))
    manager = SessionManager(agent)

    async def first() -> str:
        await agent.initialize()
        session_id = await manager.create_or_resume_session()
        await manager.chat(session_id, "Hello!")
        return session_id

    async def second(session_id: str) -> str:
        answer = await manager.chat(session_id, "What did I just say?")
        assert await agent.shutdown()
        return answer

    assert "Hello!" in run(second(run(first())))


def test_an_agent_can_be_opened_and_closed_again_in_each_run(store_url: str) -> None:
    agent = SessionAgent(redis_config=RedisConfig(url=store_url))

    async def main() -> str:
        async with agent:
            manager = SessionManager(agent)
            session_id = await manager.create_or_resume_session(session_id="s")
            return await manager.chat(session_id, "Hello!")

    assert run(main())
    assert run(main())


def test_shutdown_ends_the_threads_and_can_be_repeated(store_url: str) -> None:
    before = set(threading.enumerate())

    async def main() -> None:
        agent = SessionAgent(redis_config=RedisConfig(url=store_url))
        async with agent:
            manager = SessionManager(agent)
            await manager.chat(await manager.create_or_resume_session(), "Hello!")
        assert await agent.shutdown()

    run(main())
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT)
        assert not thread.is_alive()


def test_an_agent_whose_opening_is_cancelled_is_closed_again(
    redis_server: RedisServer, redis_url: str
) -> None:
    async def main() -> None:
        before = set(threading.enumerate())
        agent = SessionAgent(redis_config=RedisConfig(url=redis_url))
        opening = asyncio.create_task(agent.__aenter__())
        redis_server.pause()
        try:
            await asyncio.wait([opening], timeout=0.05)
            opening.cancel()
            await asyncio.sleep(0)
        finally:
            redis_server.resume()
        with pytest.raises(asyncio.CancelledError):
            await opening
        for thread in set(threading.enumerate()) - before:
            await asyncio.to_thread(thread.join, LIMIT)
        assert not agent.sync.store.parts.core.connections.is_open

    run(main())


def test_shutdown_lets_a_running_chat_finish(store_url: str) -> None:
    async def main() -> None:
        model = SlowModel()
        async with manager_of(store_url, model) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Hello!"))
            await reached(model.began)
            shutdown = asyncio.create_task(manager.agent.shutdown(LIMIT))
            await asyncio.sleep(0)
            model.go.set()
            assert await shutdown
            assert await chat == "one two"

    run(main())
