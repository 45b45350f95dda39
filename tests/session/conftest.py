"""Fixtures of the session tests: agents that share one store, on both backends; outages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from tests.support.servers import RedisServer
from tests.support.spooling import Program

Open = Callable[..., SessionManager]


@pytest.fixture
def open_manager(store_url: str) -> Iterator[Open]:
    """Yield a function that opens another instance of the program on the same store."""
    with ExitStack() as stack:

        def open_it(
            model: Any = "demo",
            tools: ToolRegistry | None = None,
            redis: dict[str, Any] | None = None,
            callbacks: Any = None,
            **settings: Any,
        ) -> SessionManager:
            agent = SessionAgent(
                AgentConfig(model=model, **settings),
                tools,
                callbacks,
                RedisConfig(url=store_url, **(redis or {})),
            )
            return SessionManager(stack.enter_context(agent))

        yield open_it


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Yield a server that a test may kill: it loses nothing."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
def program(server: RedisServer, tmp_path: Path) -> Iterator[Program]:
    """Yield a program with a spool, on a server that its model kills."""
    opened = Program(server, tmp_path / "spool")
    yield opened
    opened.agent.shutdown()


@pytest.fixture
def paid() -> list[int]:
    """Return the orders that the tool ``pay`` has paid."""
    return []


@pytest.fixture
def tools(paid: list[int]) -> ToolRegistry:
    """Return a tool that does harm when it runs twice."""
    registry = ToolRegistry()

    @registry.tool(idempotent=False)
    def pay(order: int) -> str:
        paid.append(order)
        return f"order {order} is paid"

    return registry
