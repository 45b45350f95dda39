"""Turns of asyncio that are named, parked or begun ahead: they hold no thread while they wait."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from miniagent_redis import ToolContext
from miniagent_redis.aio import (
    AgentConfig,
    Approve,
    EventType,
    InvalidInput,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionWaiting,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelRequest, TextDelta
from tests.support.async_agents import manager_of
from tests.support.coroutines import LIMIT, run

Messages = list[dict[str, Any]]


class Gate:
    """An async model that answers a message "wait" when it is let go."""

    def __init__(self) -> None:
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.heard: list[str] = []

    async def __call__(self, messages: Messages) -> str:
        said = str(messages[-1]["content"])
        self.heard.append(said)
        if said == "wait":
            self.began.set()
            await self.go.wait()
        return f"re: {said}"


class Refunding:
    """An async model that wants a refund, and says so again."""

    async def stream(self, request: ModelRequest) -> Any:
        if request.messages[-1].role == "user":
            yield ToolCall("c1", "refund", {"order": 7})
        else:
            await asyncio.sleep(0)
            yield TextDelta(request.messages[-1].text)
        yield Finish()


def agent_of(url: str, model: Any) -> SessionAgent:
    config = AgentConfig(model=model, turn_threads=2, busy_timeout=LIMIT)
    return SessionAgent(config, redis_config=RedisConfig(url=url, call_threads=2))


def threads_of_turns() -> int:
    names = [thread.name for thread in threading.enumerate()]
    return sum("miniagent-redis-aio" in name for name in names)


def test_twenty_who_repeat_a_turn_hear_one_answer_and_hold_no_threads(store_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with agent_of(store_url, gate) as agent:
            manager = SessionManager(agent)
            busy, other = [await manager.create_or_resume_session() for _ in range(2)]

            async def ask() -> str:
                return await manager.chat(busy, "wait", turn_id="t1")

            first = asyncio.create_task(ask())
            await gate.began.wait()
            others = [asyncio.create_task(ask()) for _ in range(20)]
            await asyncio.sleep(0.5)
            assert await manager.chat(other, "Hello!") == "re: Hello!"
            assert threads_of_turns() <= 4
            gate.go.set()
            assert [await each for each in [first, *others]] == ["re: wait"] * 21
            assert gate.heard.count("wait") == 1
            assert len(await manager.get_history(busy)) == 2
            assert await manager.chat(busy, "wait", turn_id="t1") == "re: wait"

    run(main())


def test_who_leaves_a_turn_that_he_joined_does_not_end_it(store_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with agent_of(store_url, gate) as agent:
            manager = SessionManager(agent)
            busy = await manager.create_or_resume_session()
            first = asyncio.create_task(manager.chat(busy, "wait", turn_id="t1"))
            await gate.began.wait()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await manager.chat(busy, "wait", turn_id="t1")
            gate.go.set()
            assert await first == "re: wait"

    run(main())


def test_turns_that_are_started_while_the_session_is_busy_hold_no_threads(store_url: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with agent_of(store_url, gate) as agent:
            manager = SessionManager(agent)
            busy, other = [await manager.create_or_resume_session() for _ in range(2)]
            first = asyncio.create_task(manager.chat(busy, "wait"))
            await gate.began.wait()
            starts = [asyncio.create_task(manager.start(busy, str(n))) for n in range(10)]
            await asyncio.sleep(0.3)
            assert await manager.chat(other, "Hello!") == "re: Hello!"
            assert threads_of_turns() <= 4
            gate.go.set()
            await first
            for number, (turn_id, cursor) in enumerate([await each for each in starts]):
                events = [
                    event.type
                    async for event in manager.watch(busy, cursor, LIMIT, turn_id=turn_id)
                ]
                assert events[-1] is EventType.AGENT_RESPONSE
                state = await manager.turn(busy, turn_id)
                assert (state.state, state.text) == ("completed", f"re: {number}")

    run(main())


def test_a_parked_turn_is_answered_and_its_async_model_goes_on(store_url: str) -> None:
    async def main() -> None:
        tools = ToolRegistry()
        tools.add(refund, approve=True)
        async with manager_of(store_url, Refunding(), tools=tools) as manager:
            sid = await manager.create_or_resume_session()
            with pytest.raises(SessionWaiting) as caught:
                await manager.chat(sid, "Refund it.")
            turn_id = caught.value.turn_id
            result = await manager.answer(sid, turn_id, {"c1": Approve()})
            assert (result.text, result.waiting) == ("refunded 7", ())
            again = await manager.agent.answer(sid, turn_id, {"c1": Approve()})
            assert again.text == "refunded 7"

    run(main())


async def refund(order: int) -> str:
    """Pay an order back."""
    await asyncio.sleep(0)
    return f"refunded {order}"


def test_an_async_model_function_is_told_for_whom_it_answers(store_url: str) -> None:
    async def greet(messages: Messages, context: ToolContext) -> str:
        return f"Hello {context.user_id}, you said {messages[-1]['content']}"

    async def main() -> None:
        async with manager_of(store_url, greet) as manager:
            sid = await manager.create_or_resume_session("ada")
            assert await manager.chat(sid, "Hi") == "Hello ada, you said Hi"

    run(main())


def test_a_submitted_turn_has_its_id_at_once_and_its_place_once_it_has_begun(
    store_url: str,
) -> None:
    async def main() -> None:
        async with manager_of(store_url) as manager:
            sid = await manager.create_or_resume_session()
            await manager.chat(sid, "Hello!")
            named = manager.agent.submit(sid, "Hi", turn_id="job-1")
            assert (named.turn_id, named.cursor) == ("job-1", "")
            again = manager.agent.submit(sid, "Hi", turn_id="job-1")
            assert await named == await again
            assert named.cursor == again.cursor != ""
            other = manager.agent.submit(sid, "Hello again!")
            assert (await other).turn_id == other.turn_id != "job-1"
            kinds = {
                event.turn_id: event.type
                async for event in manager.watch(sid, after=other.cursor, timeout=0.05)
            }
            assert kinds == {other.turn_id: EventType.AGENT_RESPONSE}
            with pytest.raises(InvalidInput, match="another message"):
                await manager.agent.submit(sid, "No", turn_id="job-1")

    run(main())


def test_a_submitted_turn_has_options_and_those_are_checked_at_once(store_url: str) -> None:
    async def main() -> None:
        async def system(messages: Messages) -> str:
            return str(messages[0]["content"])

        async with manager_of(store_url, system) as manager:
            sid = await manager.create_or_resume_session()
            task = manager.agent.submit(sid, "Hi", instructions="Be brief.")
            assert (await task).text == "Be brief."
            with pytest.raises(TypeError, match="unknown"):
                manager.agent.submit(sid, "Hi", unknown=1)  # type: ignore[call-arg]

    run(main())
