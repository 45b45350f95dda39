"""Going back, titles and search for asyncio: the same, awaited."""

from __future__ import annotations

import asyncio

from miniagent_redis import RedisConfig
from miniagent_redis.aio import AgentConfig, SessionAgent, SessionManager


def test_a_conversation_goes_back_and_is_found(store_url: str) -> None:
    async def talk() -> None:
        count = 0

        async def model(messages: list[dict[str, str]]) -> str:
            nonlocal count
            await asyncio.sleep(0)
            count += 1
            return f"{count}:{messages[-1]['content']}"

        config = AgentConfig(model=model)
        async with SessionAgent(config, redis_config=RedisConfig(url=store_url)) as agent:
            manager = SessionManager(agent)
            sid = await manager.create_or_resume_session("ada")
            first = await manager.run(sid, "one")
            await manager.chat(sid, "two")
            again = await manager.regenerate(sid, user_id="ada", new_turn_id="mine")
            assert again.text == "3:two"
            assert await manager.regenerate(sid, user_id="ada", new_turn_id="mine") == again
            edited = await manager.edit(sid, first.turn_id, "uno", params={"temperature": 0.1})
            assert edited.text == "4:uno"
            branches = [each["session_id"] for each in await manager.list_branches(sid)]
            assert branches == [edited.branch, again.branch]
            fork = await manager.fork_session(sid, 1)
            assert len(await manager.get_history(fork)) == 1
            kept = await manager.rewind(sid, 0)
            assert kept
            assert await manager.get_history(sid) == []
            assert await manager.set_title(kept, "Two")
            found = await manager.search("4:UNO", "ada")
            assert {each["session_id"] for each in found} == {kept}
            titles = {each["session_id"]: each["title"] for each in await manager.list_sessions()}
            assert titles[kept] == "Two"

    asyncio.run(talk())


def test_the_store_has_them_too(store_url: str) -> None:
    async def work() -> None:
        async with SessionAgent(redis_config=RedisConfig(url=store_url)) as agent:
            store = agent.store
            await store.create_session("s", user_id="ada")
            branch = await store.fork_session("s", user_id="ada")
            assert [each["session_id"] for each in await store.list_branches("s")] == [branch]
            assert await store.rewind("s", 0) is None
            assert await store.set_title("s", "x")
            assert list(await store.search("x", "ada")) == []

    asyncio.run(work())
