"""Agents for the tests of asyncio, and models that they talk to."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from miniagent_redis.aio import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolCall
from tests.support.coroutines import LIMIT


class SlowModel:
    """A model that says a word, waits until the test lets it go on, and says another."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        yield "one "
        self.began.set()
        assert self.go.wait(LIMIT)
        yield "two"


@asynccontextmanager
async def manager_of(url: str, model: Any = "demo", **parts: Any) -> AsyncIterator[SessionManager]:
    config = AgentConfig(model=model, busy_timeout=LIMIT)
    async with SessionAgent(config, redis_config=RedisConfig(url=url), **parts) as agent:
        yield SessionManager(agent)


def calls(*names: str) -> list[ToolCall]:
    return [ToolCall(f"call-{number}", name, {}) for number, name in enumerate(names)]
