"""A reader under asyncio that leaves a stream: closed, dropped, or its task cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Literal

import pytest

from miniagent_redis.aio import Event, EventType, InvalidInput, SessionManager, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.support.async_agents import SlowModel, calls, manager_of
from tests.support.coroutines import run

Leave = Callable[[Any], Coroutine[Any, Any, None]]
Choice = Literal["keep", "drop", "finish"]
SAID: dict[Choice, list[str]] = {
    "keep": ["Count", "one "],
    "drop": [],
    "finish": ["Count", "one two"],
}


class AsyncSlowModel:
    """A model in the caller's loop: says a word, and another when it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        yield "one "
        await self.go.wait()
        yield "two"


async def read_a_word(stream: AsyncIterator[Event]) -> None:
    async for event in stream:
        if event.type is EventType.TEXT_DELTA:
            return


async def close(stream: Any) -> None:
    await read_a_word(stream)
    await stream.aclose()


async def drop(stream: Any) -> None:
    await read_a_word(stream)
    del stream


async def cancel(stream: Any) -> None:
    heard = asyncio.Event()

    async def listen() -> None:
        async for event in stream:
            if event.type is EventType.TEXT_DELTA:
                heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


async def comes_to(manager: SessionManager, session_id: str, expected: list[str]) -> None:
    while True:
        state = await manager.store.session_state(session_id)
        said = [message["content"] for message in await manager.get_history(session_id)]
        if said == expected and state.open_turn is None:
            return
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("kind", [SlowModel, AsyncSlowModel])
@pytest.mark.parametrize("leave", [close, drop, cancel])
@pytest.mark.parametrize("choice", SAID)
def test_it_is_the_readers_choice_what_becomes_of_the_turn(
    store_url: str, leave: Leave, choice: Choice, kind: type[Any]
) -> None:
    async def main() -> None:
        model = kind()
        async with manager_of(store_url, model) as manager:
            session_id = await manager.create_or_resume_session()
            await leave(manager.stream(session_id, "Count", on_close=choice))
            model.go.set()
            await comes_to(manager, session_id, SAID[choice])

    run(main())


def test_an_async_tool_is_run_in_the_loop_of_a_reader_that_left(store_url: str) -> None:
    async def main() -> None:
        loops, go = [], asyncio.Event()
        tools = ToolRegistry()

        @tools.tool
        async def dig() -> str:
            """Dig for a long time."""
            loops.append(asyncio.get_running_loop())
            await go.wait()
            return "a hole"

        model = ScriptedModel([["I ", *calls("dig")], "Done."])
        async with manager_of(store_url, model, tools=tools) as manager:
            session_id = await manager.create_or_resume_session()
            await cancel(manager.stream(session_id, "Dig", on_close="finish"))
            go.set()
            await comes_to(manager, session_id, ["Dig", "I ", "a hole", "Done."])
            assert loops == [asyncio.get_running_loop()]

    run(main())


def test_another_choice_is_refused(store_url: str) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            session_id = await manager.create_or_resume_session()
            choice: Any = "stop"
            with pytest.raises(InvalidInput, match="on_close must be"):
                manager.stream(session_id, "Count", on_close=choice)

    run(main())
