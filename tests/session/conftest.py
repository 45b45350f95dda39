"""Fixtures of the session tests: agents that share one store, on both backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry

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
