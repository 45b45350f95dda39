"""The types that mypy and pyright see in miniagent_redis.aio; this file is itself the example."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, assert_type

import pytest
import redis.asyncio

from miniagent_redis.aio import (
    Event,
    EventType,
    Message,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionManager,
    SessionThread,
    StreamCallback,
    ToolRegistry,
    TurnResult,
    get_redis_manager,
)
from miniagent_redis.aio.locks import NamedLock
from miniagent_redis.aio.submitted import Submitted
from miniagent_redis.models import OpenTurn, Page


async def sessions(agent: SessionAgent, manager: SessionManager) -> None:
    assert_type(await agent.initialize(), SessionAgent)
    assert_type(await manager.create_or_resume_session(user_id="u"), str)
    assert_type(await manager.chat("s", "Hello!", user_id=None), str)
    assert_type(await manager.run("s", Message("user", "Hello!")), TurnResult)
    assert_type(manager.stream("s", "Hello!"), AsyncGenerator[Event, None])
    assert_type(agent.stream("s", "Hello!"), AsyncGenerator[Event, None])
    assert_type(agent.submit("s", "Hello!"), Submitted)
    assert_type(await manager.run("s", "Hello!", output=int, instructions="x"), TurnResult)
    assert_type(await manager.get_history("s", 10, before=5), list[dict[str, Any]])
    assert_type(await manager.list_sessions(limit=5), Page[dict[str, Any]])
    assert_type(await manager.clear_history("s"), bool)
    assert_type(await agent.shutdown(timeout=1), bool)
    async for event in manager.stream("s", "Hello!"):
        assert_type(event, Event)
    end: Callable[[str], Coroutine[Any, Any, bool]] = manager.end_session
    assert_type(await end("s"), bool)


async def threads(agent: SessionAgent) -> None:
    thread = agent.thread("s")
    assert_type(thread, SessionThread)
    assert_type(await thread.load(), SessionThread)
    assert_type(await thread.refresh(), SessionThread)
    assert_type(thread.messages, Sequence[Message])
    assert_type(await thread.add_message("user", "Hello!"), Message)
    assert_type(await thread.clear(), int)
    async for message in thread:
        assert_type(message, Message)


async def store() -> None:
    manager = await get_redis_manager(RedisConfig(url="memory://"))
    assert_type(manager, RedisSessionManager)
    assert_type(manager.client, redis.asyncio.Redis)
    assert_type(await manager.create_session("s", {"a": 1}, ttl=5), bool)
    assert_type(await manager.get_session("s"), dict[str, Any] | None)
    assert_type(await manager.begin_turn("s", "Hello!", on_busy="reject"), OpenTurn)
    assert_type(manager.lock("x"), NamedLock)
    async with manager.lock("x", timeout=1) as lock:
        assert_type(lock, NamedLock)
        assert_type(await lock.acquire(5), bool)
    async for message in manager.get_messages(timeout=1):
        assert_type(message, dict[str, Any])


async def mistakes(manager: SessionManager) -> None:
    await manager.chat("s")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.chat("s", 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await manager.chat("s", "Hello!", who="me")  # type: ignore  # pyright: ignore


async def functions_keep_their_types(tools: ToolRegistry, callbacks: StreamCallback) -> None:
    @tools.tool
    async def add(a: int, b: int) -> int:
        return a + b

    @callbacks.on(EventType.TEXT_DELTA)
    async def show(event: Event) -> None: ...

    assert_type(await add(1, 2), int)
    await show(Event(EventType.TEXT_DELTA, "s"))


def test_this_file_is_right_in_the_eyes_of_mypy() -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed here; the types environment of tox has it")
    options = ["--strict", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, __file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
