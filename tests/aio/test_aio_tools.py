"""Tools and callbacks of an agent for asyncio: in whose loop and context they run."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from miniagent_redis import ToolRegistry as SyncRegistry
from miniagent_redis.aio import Event, EventType, StreamCallback, ToolContext, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.support.async_agents import calls, manager_of
from tests.support.coroutines import run

on_whose_behalf: ContextVar[str] = ContextVar("on_whose_behalf", default="nobody")


def test_tools_see_the_context_variables_of_the_task(store_url: str) -> None:
    async def main() -> None:
        tools, seen = ToolRegistry(), []

        @tools.tool
        def plain() -> None:
            """Look around."""
            seen.append(("plain", on_whose_behalf.get()))

        @tools.tool
        async def asynchronous() -> None:
            """Look around."""
            seen.append(("async", on_whose_behalf.get()))

        model = ScriptedModel([calls("plain", "asynchronous"), "Done."])
        async with manager_of(store_url, model, tools=tools) as manager:
            session_id = await manager.create_or_resume_session()
            on_whose_behalf.set("Ada")
            await manager.chat(session_id, "Look!")
        assert sorted(seen) == [("async", "Ada"), ("plain", "Ada")]

    run(main())


def test_an_async_tool_runs_in_the_loop_of_the_caller(store_url: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answers: asyncio.Queue[str] = asyncio.Queue()
        tools = ToolRegistry()

        @tools.tool
        async def ask_the_user() -> str:
            """Ask the user."""
            assert asyncio.get_running_loop() is loop
            return await answers.get()

        model = ScriptedModel([calls("ask_the_user"), "Thank you."])
        async with manager_of(store_url, model, tools=tools) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.run(session_id, "Ask me!"))
            await answers.put("forty-two")
            result = await chat
        assert [step.content for step in result.steps if step.role == "tool"] == ["forty-two"]

    run(main())


def test_an_async_tool_may_chat_with_another_session(store_url: str) -> None:
    async def main() -> None:
        tools = ToolRegistry()

        def reply(messages: Any) -> Any:
            asked = messages.messages[-1]
            if asked.role == "tool":
                return str(asked.content)
            return "inner answer" if asked.content == "inner" else calls("delegate")

        async with manager_of(store_url, ScriptedModel([reply] * 120), tools=tools) as manager:

            @tools.tool
            async def delegate() -> str:
                """Let somebody else answer."""
                inner_id = await manager.create_or_resume_session()
                return await manager.chat(inner_id, "inner")

            ids = [await manager.create_or_resume_session() for _ in range(40)]
            chats = (manager.chat(session_id, "outer") for session_id in ids)
            assert await asyncio.gather(*chats) == ["inner answer"] * 40

    run(main())


def test_async_callbacks_run_in_the_loop_of_the_caller_and_in_order(store_url: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        callbacks = StreamCallback()
        heard: list[str] = []

        @callbacks.on(EventType.TEXT_DELTA)
        async def first(event: Event) -> None:
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0)
            heard.append(f"async {event.text}")

        @callbacks.on(EventType.TEXT_DELTA)
        def second(event: Event) -> None:
            heard.append(f"plain {event.text}")

        @callbacks.on(EventType.TURN_STARTED)
        async def broken(event: Event) -> None:
            raise LookupError("a callback cannot break a turn")

        model = ScriptedModel([["a", "b"]])
        async with manager_of(store_url, model, callbacks=callbacks) as manager:
            session_id = await manager.create_or_resume_session()
            assert await manager.chat(session_id, "Hello!") == "ab"
        assert heard == ["async a", "plain a", "async b", "plain b"]
        assert callbacks.errors == 1

    run(main())


def test_a_callback_may_be_any_callable_that_gives_a_coroutine(store_url: str) -> None:
    async def main() -> None:
        heard: asyncio.Queue[Event] = asyncio.Queue()
        callbacks = StreamCallback()
        callbacks.on(EventType.AGENT_RESPONSE, heard.put)
        callbacks.on_any(lambda event: heard.put(event))
        async with manager_of(store_url, "demo", callbacks=callbacks) as manager:
            session_id = await manager.create_or_resume_session()
            await manager.chat(session_id, "Hello!")
        assert heard.qsize() > 2

    run(main())


def test_an_async_tool_that_is_given_up_is_cancelled_in_the_loop_of_the_caller(
    store_url: str,
) -> None:
    async def main() -> None:
        tools, ended = ToolRegistry(), asyncio.Event()

        async with manager_of(store_url, ScriptedModel([calls("hang")]), tools=tools) as manager:
            session_id = await manager.create_or_resume_session()

            @tools.tool
            async def hang() -> None:
                """Wait for ever."""
                try:
                    await manager.cancel(session_id)
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            result = await manager.run(session_id, "Go!")
            await ended.wait()
        assert [step.content for step in result.steps if step.role == "tool"] == [
            "cancelled by the user; it may still be running"
        ]

    run(main())


def test_async_tools_of_a_registry_of_the_sync_api_have_a_loop_of_their_own(store_url: str) -> None:
    async def main() -> None:
        tools, loops = SyncRegistry(), []

        @tools.tool
        async def look() -> None:
            """Look around."""
            loops.append(asyncio.get_running_loop())

        model = ScriptedModel([calls("look", "look"), "Done."])
        async with manager_of(store_url, model, tools=tools) as manager:
            await manager.chat(await manager.create_or_resume_session(), "Look!")
        assert len(loops) == 2
        assert loops[0] is loops[1] is not asyncio.get_running_loop()

    run(main())


def test_tools_know_for_whom_they_run(store_url: str) -> None:
    async def main() -> None:
        tools, seen = ToolRegistry(), []

        @tools.tool
        async def asynchronous(context: ToolContext) -> None:
            """Look around."""
            seen.append(context)

        @tools.tool
        def plain(context: ToolContext) -> None:
            """Look around."""
            seen.append(context)

        model = ScriptedModel([calls("asynchronous", "plain"), "Done."])
        async with manager_of(store_url, model, tools=tools) as manager:
            session_id = await manager.create_or_resume_session("ada", data={"a": 1})
            result = await manager.run(session_id, "Look!")
        assert sorted(seen, key=lambda context: context.call_id) == [
            ToolContext(session_id, "ada", result.turn_id, f"call-{n}", {"a": 1}) for n in (0, 1)
        ]

    run(main())
