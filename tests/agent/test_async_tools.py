"""Async tools share one event loop that stays, so what they keep between calls stays usable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest

from miniagent_redis.agent import TurnOutcome
from miniagent_redis.llm import ModelRequest, ToolCall
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.tools import ToolRegistry, call_tool
from tests.support.one_turn import LIMIT, Turn, scripted

who: ContextVar[str] = ContextVar("who", default="nobody")


def results(outcome: TurnOutcome) -> list[str]:
    return [step.text for step in outcome.steps if step.role == "tool"]


def both(*names: str) -> list[ToolCall]:
    return [ToolCall(name, name) for name in names]


def test_a_client_that_a_tool_keeps_works_in_later_calls_turns_and_registries() -> None:
    clients: list[asyncio.Queue[str]] = []

    async def ask() -> str:
        if not clients:  # waiting on it binds it to a loop, as connections are
            clients.append(asyncio.Queue())
        queue, loop = clients[0], asyncio.get_running_loop()
        loop.call_later(0, queue.put_nowait, "answered")
        return await asyncio.wait_for(queue.get(), LIMIT)

    for _ in range(2):
        tools = ToolRegistry()
        tools.add(ask)
        calls = [ToolCall("1", "ask"), [ToolCall("2", "ask"), ToolCall("3", "ask")], "Done"]
        assert results(Turn(scripted(*calls, tools=tools)).finish()) == ["answered"] * 3


def test_a_semaphore_that_two_tools_of_one_reply_share_lets_both_come_to_their_end() -> None:
    tools, one_at_a_time, inside = ToolRegistry(), asyncio.Semaphore(1), [0]

    async def work() -> int:
        async with one_at_a_time:
            inside[0] += 1
            await asyncio.sleep(0.001)
            inside[0] -= 1
            return inside[0]

    tools.add(work, name="first")
    tools.add(work, name="second")
    outcome = Turn(scripted(both("first", "second"), "Done", tools=tools)).finish()
    assert results(outcome) == ["0", "0"]


def test_tools_wait_side_by_side_in_the_loop_each_with_its_own_context() -> None:
    tools, meeting = ToolRegistry(), asyncio.Barrier(2)

    async def meet() -> str:
        who.set(f"{who.get()}'s friend")
        await meeting.wait()
        return who.get()

    tools.add(meet, name="first")
    tools.add(meet, name="second")
    who.set("Ada")
    outcome = Turn(scripted(both("first", "second"), "Done", tools=tools)).finish()
    assert results(outcome) == ["Ada's friend"] * 2
    assert who.get() == "Ada"


def hanging(began: Callable[[], object], ended: threading.Event) -> Callable[[], Awaitable[str]]:
    async def hang() -> str:
        try:
            began()
            return str(await asyncio.Event().wait())
        finally:
            ended.set()

    return hang


def test_a_tool_that_takes_too_long_is_cancelled() -> None:
    clock, tools, ended = ManualClock(), ToolRegistry(), threading.Event()
    tools.add(hanging(lambda: clock.advance(5), ended), name="hang", timeout=5)
    outcome = Turn(scripted(ToolCall("a", "hang"), "Done", tools=tools), clock=clock).finish()
    assert results(outcome) == ["timed out after 5 s; it may still be running"]
    assert ended.wait(LIMIT)


def test_a_tool_that_runs_when_the_turn_is_cancelled_is_cancelled_too() -> None:
    tools, began, ended = ToolRegistry(), threading.Event(), threading.Event()
    tools.add(hanging(began.set, ended), name="hang")
    turn = Turn(scripted(ToolCall("a", "hang"), tools=tools), is_cancelled=began.is_set)
    assert results(turn.finish()) == ["cancelled by the user; it may still be running"]
    assert ended.wait(LIMIT)


def test_a_tool_of_a_turn_that_nobody_reads_any_more_is_cancelled() -> None:
    tools, began, ended = ToolRegistry(), threading.Event(), threading.Event()

    @tools.tool
    def close() -> None:
        assert began.wait(LIMIT)
        raise KeyboardInterrupt

    tools.add(hanging(began.set, ended), name="hang")
    with pytest.raises(KeyboardInterrupt):
        Turn(scripted(both("hang", "close"), tools=tools)).finish()
    assert ended.wait(LIMIT)


def test_an_async_tool_may_run_a_turn_with_async_tools_of_its_own() -> None:
    """It blocks the loop meanwhile, so those of the inner turn run in another one."""
    tools = ToolRegistry()
    loops: list[Any] = []

    @tools.tool
    async def deeper(level: int) -> str:
        loops.append(asyncio.get_running_loop())
        return Turn(agent, str(level - 1)).finish().text if level else "bottom"

    def reply(request: ModelRequest) -> Any:
        if request.messages[-1].role == "tool":
            return "above " + request.messages[-1].text
        return ToolCall("a", "deeper", {"level": int(request.messages[-1].text)})

    agent = scripted(*[reply] * 20, tools=tools)
    assert Turn(agent, "3").finish().text == "above " * 4 + "bottom"
    assert Turn(agent, "3").finish().text == "above " * 4 + "bottom"
    assert len(set(loops[:4])) == 4
    assert loops[:4] == loops[4:]


@pytest.mark.parametrize("wish", [KeyboardInterrupt, SystemExit])
def test_a_tool_that_ends_the_program_leaves_the_others_their_loop(
    wish: type[BaseException],
) -> None:
    tools = ToolRegistry()
    before: list[Any] = []

    @tools.tool
    async def loop_of_the_tools() -> None:
        before.append(asyncio.get_running_loop())

    @tools.tool
    async def stop() -> None:
        raise wish

    assert not call_tool(tools, ToolCall("1", "loop_of_the_tools")).is_error
    with pytest.raises(wish):
        Turn(scripted(ToolCall("2", "stop"), tools=tools)).finish()
    assert not call_tool(tools, ToolCall("3", "loop_of_the_tools")).is_error
    assert before[0] is before[1]


def test_a_tool_can_be_called_where_a_loop_is_running() -> None:
    tools = ToolRegistry()

    @tools.tool
    async def add(a: int, b: int) -> int:
        return a + b

    async def cell() -> str:
        return call_tool(tools, ToolCall("1", "add", {"a": 1, "b": 2})).text

    assert asyncio.run(cell()) == "3"


def test_what_a_tool_raises_is_told_to_the_model() -> None:
    tools = ToolRegistry()

    @tools.tool
    async def fail() -> None:
        raise LookupError("no such city")

    @tools.tool
    async def give_up() -> None:
        raise asyncio.CancelledError

    texts = results(Turn(scripted(both("fail", "give_up"), "Sorry", tools=tools)).finish())
    assert sorted(text.rpartition(".")[2] for text in texts) == [
        "CancelledError",
        "LookupError: no such city",
    ]
