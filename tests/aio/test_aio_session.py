"""Agents for asyncio, in memory and on a real server: many at once, cancelled, streamed, twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from servers import RedisServer

from miniagent_redis.aio import (
    AgentConfig,
    Event,
    EventType,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
    StreamCallback,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import ScriptedModel

LIMIT = 30  # seconds: generous, for waits that a right program ends at once
on_whose_behalf: ContextVar[str] = ContextVar("on_whose_behalf", default="nobody")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, LIMIT))


async def reached(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, LIMIT)


class SlowModel:
    """A model that says a word, waits until the test lets it go on, and says another."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        yield "one "
        self.began.set()
        assert self.go.wait(LIMIT)
        yield "two"


@asynccontextmanager
async def manager_of(url: str, model: Any = "demo", **parts: Any) -> AsyncIterator[SessionManager]:
    config = AgentConfig(model=model, busy_timeout=LIMIT)
    async with SessionAgent(config, redis_config=RedisConfig(url=url), **parts) as agent:
        yield SessionManager(agent)


def calls(*names: str) -> list[ToolCall]:
    return [ToolCall(f"call-{number}", name, {}) for number, name in enumerate(names)]


# --- turns ----------------------------------------------------------------------------------------


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


# --- streams --------------------------------------------------------------------------------------


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


def test_a_stream_that_is_left_early_drops_its_turn(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            session_id = await manager.create_or_resume_session()
            async with aclosing(manager.stream(session_id, "Hello!")) as events:
                async for event in events:
                    if event.type is EventType.TEXT_DELTA:
                        break
            assert await manager.get_history(session_id) == []
            assert (await manager.store.session_state(session_id)).open_turn is None

            async for _ in manager.stream(session_id, "Hello!"):
                break  # closed by the event loop, soon
            await manager.chat(session_id, "Hello again!")
            history = await manager.get_history(session_id)
            assert history[0]["content"] == "Hello again!"

    run(main())


# --- cancellation ---------------------------------------------------------------------------------


def test_a_chat_that_is_cancelled_while_the_model_talks_is_dropped(store_url: str) -> None:
    async def main() -> None:
        model = SlowModel()
        async with manager_of(store_url, model) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Hello!"))
            await reached(model.began)
            chat.cancel()
            await asyncio.sleep(0)
            model.go.set()
            with pytest.raises(asyncio.CancelledError):
                await chat
            assert (await manager.store.session_state(session_id)).open_turn is None
            assert await manager.get_history(session_id) == []
            assert await manager.chat(session_id, "Hello again!") == "one two"
            assert len(await manager.get_history(session_id)) == 2

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
            assert await manager.get_history(session_id) == []
            assert await manager.chat(session_id, "Are you there?") == "Never said."
            go.set()

    run(main())


def test_a_stream_that_is_cancelled_is_dropped(store_url: str) -> None:
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


def test_a_chat_cancelled_at_any_moment_is_stored_whole_or_not_at_all(redis_url: str) -> None:
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
                assert len(history) in (stored, stored + 4)  # question, call, result, answer
                stored = len(history)
            assert (await manager.store.session_state(session_id)).open_turn is None
            assert "6" in await manager.chat(session_id, "What is 2 * 3?")

    run(main())


# --- callbacks and tools --------------------------------------------------------------------------


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
            assert await manager.get_history(session_id) == []

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


# --- life -----------------------------------------------------------------------------------------


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
        assert not agent.sync.store.connections.is_open

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
