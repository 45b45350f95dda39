"""Fixtures of the tests of MCP servers: real ones, over stdio and HTTP, and their agents."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolCall
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.mcp import MCPServer
from tests.support.servers import free_port
from tests.support.waiting import until

HERE = Path(__file__).parent
TOY = str(HERE / "toy_server.py")
OPENS_WITHIN = 90  # seconds, on however slow a machine: to import the SDK takes a second
Open = Callable[..., SessionManager]
Old = Callable[..., MCPServer]


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall("c1", name, arguments)


def result_of(manager: SessionManager, session_id: str) -> Any:
    """Return the last result of a tool in a session."""
    return [each for each in manager.get_history(session_id) if each["role"] == "tool"][-1]


def ask(manager: SessionManager, text: str = "Go.") -> Any:
    """Have the model do what it is to do; return what its tool gave."""
    session_id = manager.create_or_resume_session("ada")
    manager.run(session_id, text)
    return result_of(manager, session_id)


@pytest.fixture
def open_manager(store_url: str) -> Iterator[Open]:
    """Yield a function that opens an agent which calls tools of servers, and then says "done"."""
    with ExitStack() as stack:

        def open_it(*tools: Any, calls: list[ToolCall], **settings: Any) -> SessionManager:
            model = ScriptedModel([calls, "done"] if calls else ["done"])
            config = RedisConfig(url=store_url)
            agent = SessionAgent(AgentConfig(model=model, **settings), tools, redis_config=config)
            return SessionManager(stack.enter_context(agent))

        yield open_it


@pytest.fixture
def toy() -> Iterator[MCPServer]:
    """Yield a server of the SDK, over stdio; it is started when it is wanted."""
    server = MCPServer(command=sys.executable, args=[TOY], name="toy", open_timeout=OPENS_WITHIN)
    yield server
    server.close()


@pytest.fixture(scope="session")
def toy_url() -> Iterator[str]:
    """Yield the URL of such a server that runs over HTTP."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    with subprocess.Popen([sys.executable, TOY, str(port)], stderr=subprocess.DEVNULL) as process:

        def answers() -> bool:
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except urllib.error.HTTPError:
                return True  # it wants to be asked in another way
            except OSError:
                assert process.poll() is None
                return False
            return True

        until(answers, OPENS_WITHIN)
        yield url
        process.kill()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return the file in which old servers note what they hear."""
    return tmp_path / "notes"


@pytest.fixture
def old(notes: Path) -> Iterator[Old]:
    """Yield a function that returns a server of an older protocol."""
    made: list[MCPServer] = []

    def make(**options: Any) -> MCPServer:
        args = [str(HERE / "old_server.py"), str(notes)]
        made.append(
            MCPServer(
                command=sys.executable, args=args, open_timeout=OPENS_WITHIN, name="old", **options
            )
        )
        return made[-1]

    yield make
    for server in made:
        server.close()
