"""Options of one turn in asyncio: typed answers, and async tools and instructions of the turn."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from miniagent_redis import ToolCall, ToolContext
from miniagent_redis.aio import AgentConfig, InvalidInput, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.llm import ScriptedModel


@attrs.frozen
class Box:
    size: int


def opened(*replies: object) -> tuple[ScriptedModel, SessionAgent]:
    model = ScriptedModel(replies)  # type: ignore[arg-type]
    return model, SessionAgent(
        AgentConfig(model=model), redis_config=RedisConfig(url="memory://typed")
    )


def test_an_answer_is_an_instance() -> None:
    async def main() -> None:
        _, agent = opened(*['{"size": 3}'] * 3)
        async with agent:
            manager = SessionManager(agent)
            sid = await manager.create_or_resume_session()
            assert (await manager.run(sid, "x", output=Box)).output == Box(3)
            assert (await agent.submit(sid, "x", output=Box)).output == Box(3)
            assert [event async for event in manager.stream(sid, "x", output=Box)]
            with pytest.raises(InvalidInput):
                await manager.chat(sid, "x", output=5)

    asyncio.run(main())


def test_async_tools_and_instructions_of_a_turn_run_in_the_loop_of_the_caller() -> None:
    async def main() -> None:
        here = asyncio.get_running_loop()

        async def look() -> str:
            """Look."""
            return f"here: {asyncio.get_running_loop() is here}"

        async def instructions(context: ToolContext) -> str:
            return f"loop: {asyncio.get_running_loop() is here}"

        model, agent = opened(ToolCall("1", "look"), "Done")
        async with agent:
            manager = SessionManager(agent)
            sid = await manager.create_or_resume_session()
            result = await manager.run(sid, "x", tools=[look], instructions=instructions)
        assert result.steps[1].text == "here: True"
        assert model.requests[0].system == "loop: True"

    asyncio.run(main())
