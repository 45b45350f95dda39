"""Twenty conversations at once from one asyncio program, with an async tool."""

import asyncio

from miniagent_redis.aio import (
    AgentConfig,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolRegistry,
)

tools = ToolRegistry()


@tools.tool
async def seats(train: str) -> int:
    """Tell how many seats are free in a train."""
    await asyncio.sleep(0.01)
    return len(train)


async def talk(manager: SessionManager, number: int) -> str:
    session_id = await manager.create_or_resume_session(user_id=f"user-{number}")
    await manager.chat(session_id, f"My name is Number{number}.")
    return await manager.chat(session_id, "What is my name?")


async def main() -> None:
    config = RedisConfig.from_env()
    async with SessionAgent(AgentConfig(), tools, redis_config=config) as agent:
        manager = SessionManager(agent)
        answers = await asyncio.gather(*(talk(manager, number) for number in range(20)))
        assert all(f"Number{number}" in answer for number, answer in enumerate(answers))
        print(f"{len(answers)} conversations, each with its own memory: {answers[0]}")


if __name__ == "__main__":
    asyncio.run(main())
