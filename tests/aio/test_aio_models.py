"""Async models: they run in the caller's event loop, and nobody holds a thread for them."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

from miniagent_redis.aio import (
    AgentConfig,
    EventType,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
)
from miniagent_redis.errors import IncompleteResponse
from miniagent_redis.llm import (
    Finish,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
)
from tests.support.async_agents import manager_of
from tests.support.coroutines import LIMIT, run

whose: ContextVar[str] = ContextVar("whose", default="nobody's")
Messages = list[dict[str, Any]]


async def answer(messages: Messages) -> str:
    await asyncio.sleep(0)
    return f"You said: {messages[-1]['content']}"


async def pieces(messages: Messages) -> AsyncIterator[str]:
    for piece in ("one ", "two ", "three"):
        await asyncio.sleep(0)
        yield piece


async def later(messages: Messages) -> AsyncIterator[str]:
    await asyncio.sleep(0)
    return pieces(messages)


async def told(name: str, messages: Messages) -> str:
    return f"{name} says hello"


class Callable:
    async def __call__(self, messages: Messages) -> str:
        return "called"


class Streaming:
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        if request.tools and request.messages[-1].role == "user":
            yield ToolCall("", "add", {"a": 1, "b": 2})
        else:
            yield TextDelta(f"It is {request.messages[-1].text}")
        yield Finish()


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


MODELS: list[tuple[Any, str]] = [
    (answer, "You said: Hello!"),
    (pieces, "one two three"),
    (later, "one two three"),
    (partial(told, "Ada"), "Ada says hello"),
    (Callable(), "called"),
    (partial(Callable()), "called"),
    (Streaming(), "It is 3"),
]


@pytest.mark.parametrize(("model", "said"), MODELS)
def test_an_async_model_answers(store_url: str, model: Any, said: str) -> None:
    async def main() -> None:
        async with manager_of(store_url, model, tools=[add]) as manager:
            session_id = await manager.create_or_resume_session()
            assert await manager.chat(session_id, "Hello!") == said
            assert (await manager.run(session_id, "Hello!")).text == said
            history = await manager.get_history(session_id)
            assert history[-1]["content"] == said

    run(main())


def test_its_text_is_streamed_as_it_comes(store_url: str) -> None:
    async def main() -> None:
        heard: list[str] = []

        async def answer(messages: Messages) -> AsyncIterator[str]:
            for piece in ("one ", "two"):
                yield piece
                while "".join(heard)[-len(piece) :] != piece:  # it is there before the next
                    await asyncio.sleep(0)

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            async for event in manager.stream(session_id, "Hello!"):
                if event.type is EventType.TEXT_DELTA:
                    heard.append(event.text)
        assert heard == ["one ", "two"]

    run(main())


def test_it_runs_in_the_loop_and_with_the_context_of_the_caller(store_url: str) -> None:
    async def main() -> None:
        mine = asyncio.get_running_loop()

        async def answer(messages: Messages) -> str:
            assert asyncio.get_running_loop() is mine
            return f"{whose.get()} answer"

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            whose.set("Ada's")
            assert await manager.chat(session_id, "Hello!") == "Ada's answer"

    run(main())


def test_all_of_an_answer_is_read_by_one_task(store_url: str) -> None:
    async def main() -> None:
        tasks = []

        async def answer(messages: Messages) -> AsyncIterator[str]:
            async with asyncio.timeout(20):
                for number in range(200):
                    tasks.append(asyncio.current_task())
                    yield f"{number} "

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            text = await manager.chat(session_id, "Hello!")
            assert text.split() == [str(number) for number in range(200)]
        assert len(set(tasks)) == 1

    run(main())


def test_a_model_is_not_read_far_ahead_of_who_listens(store_url: str) -> None:
    async def main() -> None:
        said = 0

        async def answer(messages: Messages) -> AsyncIterator[str]:
            nonlocal said
            while True:
                said += 1
                yield "on and "

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            heard = 0
            async for event in manager.stream(session_id, "Hello!"):
                heard += event.type is EventType.TEXT_DELTA
                if heard == 100:
                    break
            await asyncio.sleep(0.1)
            assert said < 300

    run(main())


@pytest.mark.parametrize(
    "error", [ValueError("no"), asyncio.CancelledError(), TimeoutError(), SystemExit(3)]
)
def test_what_it_raises_is_the_error_of_the_turn(store_url: str, error: BaseException) -> None:
    async def answer(messages: Messages) -> str:
        raise error

    async def main() -> None:
        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            with pytest.raises((ModelError, SystemExit)):
                await manager.chat(session_id, "Hello!")
            assert await manager.get_history(session_id) == []
            assert await manager.store.health_check()

    run(main())


def test_an_answer_that_breaks_off_is_kept(store_url: str) -> None:
    async def answer(messages: Messages) -> AsyncIterator[str]:
        yield "one "
        raise ValueError("no")

    async def main() -> None:
        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            with pytest.raises(IncompleteResponse) as caught:
                await manager.chat(session_id, "Hello!")
            assert caught.value.text == "one "
            history = await manager.get_history(session_id)
            assert history[-1]["metadata"]["interrupted"] == "incomplete"

    run(main())


def test_a_timeout_around_a_silent_model_is_obeyed_at_once(store_url: str) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def answer(messages: Messages) -> str:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return ""

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            before = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await manager.chat(session_id, "Hello!")
            assert time.monotonic() - before < LIMIT / 2
            assert ended.is_set()
            assert (await manager.store.session_state(session_id)).open_turn is None
            assert await manager.get_history(session_id) == []

    run(main())


def test_a_chat_that_is_cancelled_keeps_what_an_async_model_has_said(store_url: str) -> None:
    async def main() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def answer(messages: Messages) -> AsyncIterator[str]:
            try:
                yield "one "
                began.set()
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Hello!"))
            await began.wait()
            await asyncio.sleep(0.05)
            chat.cancel()
            with pytest.raises(asyncio.CancelledError):
                await chat
            assert ended.is_set()
            _, said = await manager.get_history(session_id)
            assert (said["content"], said["metadata"]["interrupted"]) == ("one ", "stopped")
            assert "CancelledError" in str(said["metadata"])

    run(main())


def test_cancel_ends_the_turn_of_a_silent_async_model(store_url: str) -> None:
    async def main() -> None:
        began = asyncio.Event()

        async def answer(messages: Messages) -> AsyncIterator[str]:
            yield "one "
            began.set()
            await asyncio.Event().wait()

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.run(session_id, "Hello!"))
            await began.wait()
            assert await manager.cancel(session_id)
            result = await chat
            assert (result.text, result.interrupted) == ("one ", True)

    run(main())


def test_a_stream_that_is_left_closes_the_model(store_url: str) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def answer(messages: Messages) -> AsyncIterator[str]:
            try:
                while True:
                    yield "on and "
                    await asyncio.sleep(0)
            finally:
                ended.set()

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            async for event in manager.stream(session_id, "Hello!"):
                if event.type is EventType.TEXT_DELTA:
                    break
            gc.collect()
            await asyncio.wait_for(ended.wait(), 10)

    run(main())


def test_a_model_may_chat_with_another_session(store_url: str) -> None:
    async def main() -> None:
        async def answer(messages: Messages) -> str:
            if messages[-1]["content"] == "Ask her!":
                return await manager.chat(other, "Hello!")
            return "It is me."

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            other = await manager.create_or_resume_session()
            assert await manager.chat(session_id, "Ask her!") == "It is me."

    run(main())


def test_turns_that_wait_for_their_model_hold_no_thread(store_url: str) -> None:
    async def main() -> None:
        go, waiting = asyncio.Event(), 0

        async def answer(messages: Messages) -> str:
            nonlocal waiting
            waiting += 1
            await go.wait()
            return "Hello!"

        config = AgentConfig(model=answer, turn_threads=2)
        async with SessionAgent(config, redis_config=RedisConfig(url=store_url)) as agent:
            manager = SessionManager(agent)
            ids = [await manager.create_or_resume_session() for _ in range(60)]
            chats = [asyncio.create_task(manager.chat(session_id, "Hi!")) for session_id in ids]
            while waiting < len(ids):
                await asyncio.sleep(0.01)
            names = [thread.name for thread in threading.enumerate()]
            assert sum("aio-turn" in name for name in names) <= 2
            assert not any("miniagent-model" in name for name in names)
            go.set()
            assert await asyncio.gather(*chats) == ["Hello!"] * len(ids)

    run(main())


def test_shutdown_gives_up_what_waits_for_a_silent_async_model(store_url: str) -> None:
    async def main() -> None:
        began = asyncio.Event()

        async def answer(messages: Messages) -> str:
            began.set()
            await asyncio.Event().wait()
            return ""

        async with manager_of(store_url, answer) as manager:
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Hello!"))
            await began.wait()
            assert not await manager.agent.shutdown(0.1)
            with pytest.raises(Exception, match="shut down in the middle"):
                await chat

    run(main())
