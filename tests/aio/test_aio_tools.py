"""Tools and callbacks of an agent for asyncio: in whose loop and context they run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextvars import ContextVar
from itertools import takewhile
from typing import Any

import pytest

from miniagent_redis import ToolRegistry as SyncRegistry
from miniagent_redis.aio import (
    AgentConfig,
    Event,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StreamCallback,
    ToolCall,
    ToolContext,
    ToolRegistry,
)
from miniagent_redis.llm import ModelEvent, ModelRequest, ScriptedModel
from tests.support.async_agents import calls, manager_of
from tests.support.coroutines import LIMIT, run

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


def test_turns_that_wait_for_async_tools_hold_no_thread(store_url: str) -> None:
    async def main() -> None:
        go, waiting = asyncio.Event(), 0
        tools = ToolRegistry()

        async def wait() -> str:
            nonlocal waiting
            waiting += 1
            await go.wait()
            return "waited"

        tools.add(wait, name="wait", description="Wait.")
        tools.add(wait, name="remember", description="Wait.", cache_ttl=60)
        replies = [calls("wait", "remember"), "Done."]
        config = AgentConfig(model=Replies(replies), turn_threads=1)
        redis = RedisConfig(url=store_url)
        async with SessionAgent(config, tools, redis_config=redis) as agent:
            manager = SessionManager(agent)
            ids = [await manager.create_or_resume_session() for _ in range(4)]
            chats = [asyncio.create_task(manager.chat(session_id, "Hi!")) for session_id in ids]
            while waiting < 2 * len(ids):
                await asyncio.sleep(0.01)
            while any("miniagent-tool" in thread.name for thread in threading.enumerate()):
                await asyncio.sleep(0.01)  # those that began with a look into the cache
            names = [thread.name for thread in threading.enumerate()]
            assert sum("aio-turn" in name for name in names) <= 1
            go.set()
            assert await asyncio.gather(*chats) == ["Done."] * len(ids)

    run(main())


def test_an_async_tool_whose_result_is_cached_runs_once_in_the_loop_of_the_caller(
    store_url: str,
) -> None:
    async def main() -> None:
        loop, tools, runs = asyncio.get_running_loop(), ToolRegistry(), 0

        @tools.tool(cache_ttl=60, shared=True)
        async def look() -> str:
            """Look around."""
            nonlocal runs
            runs += 1
            assert asyncio.get_running_loop() is loop
            await asyncio.sleep(0.05)
            return "seen"

        async with manager_of(store_url, Replies([calls("look"), "Done."]), tools=tools) as manager:
            ids = [await manager.create_or_resume_session() for _ in range(8)]
            results = await asyncio.gather(*(manager.run(each, "Look!") for each in ids))
        assert runs == 1
        assert {result.steps[1].text for result in results} == {"seen"}
        assert sum(result.cache_hits for result in results) == 7

    run(main())


def test_plain_and_async_tools_of_one_reply_run_at_the_same_time(store_url: str) -> None:
    async def main() -> None:
        tools, loop = ToolRegistry(), asyncio.get_running_loop()
        from_plain, from_async = asyncio.Event(), threading.Event()

        @tools.tool
        async def asynchronous() -> str:
            """Meet the other one."""
            await from_plain.wait()
            from_async.set()
            return "async"

        @tools.tool
        def plain() -> str:
            """Meet the other one."""
            loop.call_soon_threadsafe(from_plain.set)
            assert from_async.wait(LIMIT)
            return "plain"

        model = ScriptedModel([calls("asynchronous", "plain"), "Done."])
        async with manager_of(store_url, model, tools=tools) as manager:
            result = await manager.run(await manager.create_or_resume_session(), "Meet!")
        assert {step.text for step in result.steps if step.role == "tool"} == {"async", "plain"}

    run(main())


def test_an_async_tool_that_takes_too_long_is_cancelled_and_the_model_told(store_url: str) -> None:
    async def main() -> None:
        tools, ended = ToolRegistry(), asyncio.Event()

        @tools.tool(timeout=0.1)
        async def hang() -> None:
            """Wait for ever."""
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        model = ScriptedModel([calls("hang"), "It hangs."])
        async with manager_of(store_url, model, tools=tools) as manager:
            result = await manager.run(await manager.create_or_resume_session(), "Go!")
            await ended.wait()
        assert result.steps[1].content == "timed out after 0.1 s; it may still be running"
        assert result.text == "It hangs."

    run(main())


def test_a_timeout_around_a_silent_async_tool_is_obeyed_and_what_was_done_is_kept(
    store_url: str,
) -> None:
    async def main() -> None:
        tools, began, ended = ToolRegistry(), asyncio.Event(), asyncio.Event()

        @tools.tool
        async def pay() -> None:
            """Pay."""
            try:
                began.set()
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with manager_of(store_url, ScriptedModel([calls("pay")]), tools=tools) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Pay!"))
            await began.wait()
            chat.cancel()
            with pytest.raises(asyncio.CancelledError):
                await chat
            assert ended.is_set()
            assert (await manager.store.session_state(session_id)).open_turn is None
            history = await manager.get_history(session_id)
        assert [each["role"] for each in history] == ["user", "assistant", "tool", "assistant"]
        assert history[-1]["metadata"]["interrupted"] == "stopped"

    run(main())


def test_a_registry_with_a_loop_of_its_own_is_asked_for_it(store_url: str) -> None:
    async def main() -> None:
        seen = []

        class Own(ToolRegistry):
            def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
                return asyncio.run(coroutine)

        tools = Own()

        @tools.tool
        async def look() -> None:
            """Look around."""
            seen.append(asyncio.get_running_loop())

        model = ScriptedModel([calls("look"), "Done."])
        async with manager_of(store_url, model, tools=tools) as manager:
            await manager.chat(await manager.create_or_resume_session(), "Look!")
        assert seen != [asyncio.get_running_loop()]
        assert len(seen) == 1

    run(main())


class Replies:
    """A model that begins its replies anew in each turn."""

    def __init__(self, replies: Sequence[str | list[ToolCall]]) -> None:
        self._replies = replies

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        messages = takewhile(lambda message: message.role != "user", reversed(request.messages))
        number = sum(message.role == "assistant" for message in messages)
        yield from ScriptedModel([self._replies[number]]).stream(request)
