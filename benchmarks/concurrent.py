"""Many turns at once in one event loop: wall time, and CPU time of all threads of the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from statistics import median
from typing import Any

from attrs import frozen

from miniagent_redis import AgentConfig, SessionAgent, SessionManager, ToolCall, aio
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, ScriptedModel, TextDelta

from .bench import ANSWER, QUESTION, Bench, config
from .table import Row, duration

_TIMES = 3  # of which the median counts
_WAITING = 40  # messages for one session
_Messages = list[dict[str, Any]]


@frozen
class _CallsOnce:
    """A model that calls one tool, and then answers."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        if request.messages[-1].role == "tool":
            yield TextDelta(ANSWER)
            yield Finish()
        else:
            yield ToolCall("call-1", "wait", {})
            yield Finish("tool_calls")


def rows(bench: Bench) -> Iterator[Row]:
    """Measure turns that wait for their model, or for a tool, and what waits beside others."""
    turns, seconds = bench.times(1000, 20), 1.0 if bench.quick else 2.0

    async def wait() -> str:
        """Wait."""
        await asyncio.sleep(seconds)
        return ANSWER

    async def answer(messages: _Messages) -> str:
        return await wait()

    with asyncio.Runner() as runner:
        wall, cpu = runner.run(_at_once(bench, turns, answer, ()))
        blocking = _one_by_one(bench, turns)
        yield Row(
            f"{turns:,} turns at once, each with an async model that takes {seconds:g} s",
            f"{wall:.2f} s",
            target="4 s",
        )
        yield Row(
            "their CPU time, all threads; raw: of as many blocking chats, one by one",
            f"{cpu:.2f} s",
            f"{blocking:.2f} s",
            cpu / blocking,
        )
        wall, cpu = runner.run(_at_once(bench, turns, _CallsOnce(), (wait,)))
        yield Row(
            f"{turns:,} turns at once, each with an async tool that takes {seconds:g} s",
            f"{wall:.2f} s, {cpu:.2f} s of CPU",
        )
        yield Row(
            "how late a turn ends whose `asyncio.timeout` is over while its model is silent",
            duration(runner.run(_late(bench))),
            target="200 ms",
        )
        alone, beside = runner.run(_beside(bench))
        yield Row(
            f"a chat while {_WAITING} messages wait for another session; raw: while none does",
            duration(beside),
            duration(alone),
            beside / alone,
            "1.5",
        )


def _agent(bench: Bench, model: Any, tools: Sequence[Any] = ()) -> aio.SessionAgent:
    settings = AgentConfig(model=model)
    return aio.SessionAgent(settings, tools, redis_config=config(bench.server.url))


async def _sessions(manager: aio.SessionManager, count: int) -> list[str]:
    create = manager.create_or_resume_session
    return list(await asyncio.gather(*(create() for _ in range(count))))


async def _timed(work: Coroutine[Any, Any, object]) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that it takes."""
    began, cpu = time.perf_counter(), time.process_time()
    await work
    return time.perf_counter() - began, time.process_time() - cpu


async def _at_once(
    bench: Bench, turns: int, model: Any, tools: Sequence[Any]
) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that all take together, the median of some times."""
    async with _agent(bench, model, tools) as agent:
        manager = aio.SessionManager(agent)
        sessions = await _sessions(manager, turns)

        async def all_turns() -> None:
            await asyncio.gather(*(manager.chat(each, QUESTION) for each in sessions))

        await all_turns()  # the connections are there
        taken = [await _timed(all_turns()) for _ in range(bench.times(_TIMES, 1))]
    walls, cpus = zip(*taken, strict=True)
    return median(walls), median(cpus)


def _one_by_one(bench: Bench, turns: int) -> float:
    """Return the CPU seconds of blocking chats, whose model answers at once."""
    settings = AgentConfig(model=ScriptedModel([ANSWER] * turns))
    with SessionAgent(settings, redis_config=config(bench.server.url)) as agent:
        manager = SessionManager(agent)
        sessions = [manager.create_or_resume_session() for _ in range(turns)]
        cpu = time.process_time()
        for session_id in sessions:
            manager.chat(session_id, QUESTION)
        return time.process_time() - cpu


async def _late(bench: Bench) -> float:
    async def silent(messages: _Messages) -> str:
        await asyncio.Event().wait()
        return ""

    async def turn(manager: aio.SessionManager, session_id: str, limit: float) -> float:
        """Return how long after its time the turn has ended."""
        end = time.perf_counter() + limit
        try:
            async with asyncio.timeout(limit):
                await manager.chat(session_id, QUESTION)
        except TimeoutError:
            pass
        return time.perf_counter() - end

    async with _agent(bench, silent) as agent:
        manager = aio.SessionManager(agent)
        (session_id,) = await _sessions(manager, 1)
        return median([await turn(manager, session_id, 0.1) for _ in range(bench.times(20, 2))])


async def _beside(bench: Bench) -> tuple[float, float]:
    """Return what a chat takes while nothing else goes on, and while others wait for a session."""
    go = asyncio.Event()

    async def answer(messages: _Messages) -> str:
        if messages[-1]["content"] == "Wait!":
            await go.wait()
        return ANSWER

    async with _agent(bench, answer) as agent:
        manager = aio.SessionManager(agent)
        mine, busy = await _sessions(manager, 2)
        times = bench.times(200, 5)

        async def chats() -> float:
            return median([(await _timed(manager.chat(mine, QUESTION)))[0] for _ in range(times)])

        await chats()
        alone = await chats()
        waiting = [asyncio.create_task(manager.chat(busy, "Wait!")) for _ in range(_WAITING)]
        await asyncio.sleep(0.5)
        beside = await chats()
        go.set()
        await asyncio.gather(*waiting)
        return alone, beside
