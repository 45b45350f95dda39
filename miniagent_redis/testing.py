"""For tests of programs that use this library: a scripted model, a clock to move, pytest fixtures.

Switch the fixtures on with ``pytest_plugins = ["miniagent_redis.testing"]`` in a ``conftest.py``;
they need ``pip install 'miniagent-redis[memory]'``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .agent import AgentConfig
from .config.redis import RedisConfig
from .llm import ScriptedModel
from .models import new_id
from .runtime.clock import ManualClock
from .session import SessionAgent, SessionManager

__all__ = ["ManualClock", "ScriptedModel", "manual_clock", "open_manager"]


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return a clock that stands still until the test moves it."""
    return ManualClock()


@pytest.fixture
def open_manager(manual_clock: ManualClock) -> Iterator[Callable[..., SessionManager]]:
    """Yield a function from scripted replies to a SessionManager on an empty store in memory.

    Managers of one test share the store, as instances of one program would. Further arguments
    go to AgentConfig. Everything is shut down after the test.
    """
    url = f"memory://{new_id()}"
    with ExitStack() as stack:

        def open_it(*replies: Any, **settings: Any) -> SessionManager:
            config = AgentConfig(model=ScriptedModel(replies), **settings)
            agent = SessionAgent(config, redis_config=RedisConfig(url=url), clock=manual_clock)
            return SessionManager(stack.enter_context(agent))

        yield open_it
