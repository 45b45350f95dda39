"""Chats and streams that are cancelled at any moment: what was done is stored, else nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from miniagent_redis import EventType
from miniagent_redis.aio import ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.support.async_agents import SlowModel, calls, manager_of
from tests.support.coroutines import LIMIT, reached, run


def test_a_chat_that_is_cancelled_while_the_model_talks_is_stored_so_far(store_url: str) -> None:
    async def main() -> None:
        model, told = SlowModel(), threading.Event()
        async with manager_of(store_url, model) as manager:
            manager.agent.callbacks.on(EventType.TEXT_DELTA, lambda event: told.set())
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Hello!"))
            await reached(told)
            chat.cancel()
            await asyncio.sleep(0)
            model.go.set()
            with pytest.raises(asyncio.CancelledError):
                await chat
            assert (await manager.store.session_state(session_id)).open_turn is None
            _, answer = await manager.get_history(session_id)
            assert answer["metadata"]["interrupted"] == "stopped"
            assert await manager.chat(session_id, "Hello again!") == "one two"
            assert len(await manager.get_history(session_id)) == 4

    run(main())


def test_a_chat_that_is_cancelled_while_a_tool_runs_does_not_wait_for_it(store_url: str) -> None:
    async def main() -> None:
        began, go = threading.Event(), threading.Event()
        tools = ToolRegistry()

        @tools.tool
        def dig() -> str:
            """Dig for a long time."""
            began.set()
            assert go.wait(LIMIT)
            return "a hole"

        model = ScriptedModel([calls("dig"), "Never said.", "Here I am."])
        async with manager_of(store_url, model, tools=tools) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Dig!"))
            await reached(began)
            chat.cancel()
            with pytest.raises(asyncio.CancelledError):
                await chat
            assert not go.is_set()
            _, _, result, _ = await manager.get_history(session_id)
            assert "no result" in result["content"]
            assert await manager.chat(session_id, "Are you there?") == "Never said."
            go.set()

    run(main())


def test_a_stream_that_is_cancelled_lets_go_of_its_session(store_url: str) -> None:
    async def main() -> None:
        model = SlowModel()
        async with manager_of(store_url, model) as manager:
            session_id = await manager.create_or_resume_session()

            async def listen() -> None:
                async for _ in manager.stream(session_id, "Hello!"):
                    pass

            task = asyncio.create_task(listen())
            await reached(model.began)
            task.cancel()
            await asyncio.sleep(0)
            model.go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await manager.store.session_state(session_id)).open_turn is None
            assert await manager.chat(session_id, "Hello again!") == "one two"

    run(main())


def test_a_chat_cancelled_at_any_moment_is_stored_closed_or_not_at_all(redis_url: str) -> None:
    async def main() -> None:
        async with manager_of(redis_url) as manager:
            session_id = await manager.create_or_resume_session()
            stored = 0
            for number in range(40):
                chat = asyncio.create_task(manager.chat(session_id, "What is 2 * 3?"))
                for _ in range(number % 10):
                    await manager.store.health_check()
                chat.cancel()
                await asyncio.wait([chat])
                history = await manager.get_history(session_id)
                assert len(history) in (stored, stored + 2, stored + 4)
                assert not history or history[-1]["role"] == "assistant"
                stored = len(history)
            assert (await manager.store.session_state(session_id)).open_turn is None
            assert "6" in await manager.chat(session_id, "What is 2 * 3?")

    run(main())


def test_an_async_tool_is_cancelled_with_the_chat(store_url: str) -> None:
    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()
        tools = ToolRegistry()

        @tools.tool
        async def sleep() -> None:
            """Sleep for ever."""
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        model = ScriptedModel([calls("sleep"), "Awake."])
        async with manager_of(store_url, model, tools=tools) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Sleep!"))
            await began.wait()
            chat.cancel()
            with pytest.raises(asyncio.CancelledError):
                await chat
            await ended.wait()
            assert len(await manager.get_history(session_id)) == 4

    run(main())
