"""Expiry with agents: hooks run in the background thread of one of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    InvalidInput,
    RedisConfig,
    SessionAgent,
    SessionManager,
    aio,
)
from miniagent_redis.clock import ManualClock
from miniagent_redis.models import ExpiredSession

LIMIT = 20


def test_the_background_thread_calls_the_hooks_with_the_conversation(store_url: str) -> None:
    clock = ManualClock()
    seen: list[ExpiredSession] = []
    called = threading.Event()
    with SessionAgent(
        AgentConfig(name="Guide", model=lambda messages: "yes"),
        redis_config=RedisConfig(url=store_url),
        clock=clock,
    ) as agent:

        @agent.on_expire
        def keep(expired: ExpiredSession) -> None:
            seen.append(expired)
            called.set()

        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session(user_id="ada")
        manager.chat(session_id, "really?")
        clock.advance(3600)
        assert called.wait(LIMIT)
    (expired,) = seen
    assert (expired.session_id, expired.user_id, expired.agent_name) == (session_id, "ada", "Guide")
    assert [message.text for message in expired.messages] == ["really?", "yes"]


def test_of_two_agents_one_calls_its_hooks(store_url: str) -> None:
    clock = ManualClock()
    calls: list[str] = []
    agents = [
        SessionAgent(redis_config=RedisConfig(url=store_url), clock=clock).initialize()
        for _ in range(2)
    ]
    manager = SessionManager(agents[0])
    ids = {manager.create_or_resume_session() for _ in range(20)}
    for agent in agents:
        agent.background.stop()  # so that its jobs run only here
        agent.on_expire(lambda expired: calls.append(expired.session_id))
    clock.advance(3600)
    for agent in agents:
        agent.background.run_all()
        agent.shutdown()
    assert Counter(calls) == Counter(ids)


def test_what_cannot_be_called_is_no_hook() -> None:
    agent: Any = SessionAgent(redis_config=RedisConfig(url="memory://"))
    with pytest.raises(InvalidInput, match="cannot be called"):
        agent.on_expire("x")


def test_an_async_hook_runs_in_the_loop_of_the_program(store_url: str) -> None:
    async def main() -> None:
        clock = ManualClock()
        called = asyncio.Event()
        async with aio.SessionAgent(redis_config=RedisConfig(url=store_url), clock=clock) as agent:

            @agent.on_expire
            async def hook(expired: ExpiredSession) -> None:
                called.set()  # only right in this loop

            await aio.SessionManager(agent).create_or_resume_session()
            clock.advance(3600)
            await asyncio.wait_for(called.wait(), LIMIT)

    asyncio.run(main())


PROGRAM = """
import sys
from miniagent_redis import RedisConfig, RedisSessionManager

with RedisSessionManager(RedisConfig(url=sys.argv[1])) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while store.sweep([lambda expired: print(expired.session_id, flush=True)]):
        pass
"""


def test_two_processes_call_each_hook_once(redis_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, redis_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        for _ in range(2)
    ]
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        agent.background.stop()
        for n in range(200):
            agent.store.create_session(f"s{n}", ttl=0.001)
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        printed = [process.communicate(timeout=LIMIT)[0].split() for process in processes]
        assert Counter(printed[0] + printed[1]) == Counter(f"s{n}" for n in range(200))
        assert agent.store.client.dbsize() == 0
