"""Servers of today's protocol, made with the official SDK: over stdio, HTTP, and in asyncio."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import miniagent_redis.aio as aio
from miniagent_redis import AgentConfig, InvalidInput, RedisConfig, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.mcp import MCPServer
from miniagent_redis.tools import call_tool
from tests.mcp.conftest import Open, ask, call, result_of
from tests.mcp.toy_server import PIXEL
from tests.support.waiting import until


def test_a_turn_calls_a_tool_over_stdio(toy: MCPServer, open_manager: Open) -> None:
    assert ask(open_manager(toy, calls=[call("add", a=20, b=22)]))["content"] == "42"


def test_a_turn_calls_a_tool_over_http(toy_url: str, open_manager: Open) -> None:
    server = MCPServer(toy_url, headers=lambda: {"X-Team": "blue"})
    assert ask(open_manager(server, calls=[call("add", a=20, b=22)]))["content"] == "42"


def test_a_turn_of_asyncio_calls_one_too(toy_url: str) -> None:
    async def main() -> str:
        model = ScriptedModel([[call("add", a=20, b=22)], "done"])
        config = RedisConfig(url="memory://")
        agent = aio.SessionAgent(
            AgentConfig(model=model), [MCPServer(toy_url)], redis_config=config
        )
        async with agent:
            manager = aio.SessionManager(agent)
            session_id = await manager.create_or_resume_session()
            result = await manager.run(session_id, "Add.")
            return str(result.steps[1].content)

    import asyncio

    assert asyncio.run(main()) == "42"


def test_what_a_server_refuses_and_what_fails_goes_to_the_model(toy_url: str) -> None:
    tools = ToolRegistry.of([MCPServer(toy_url)])
    wrong = call_tool(tools, call("add", a="many", b=2))
    assert wrong.is_error
    assert wrong.not_run  # its schema says so already
    failed = call_tool(tools, call("fail"))
    assert failed.is_error
    assert failed.text == "Error executing tool fail"
    tools.close()


def test_pictures_sound_and_resources_are_parts_of_a_result(toy_url: str) -> None:
    tools = ToolRegistry.of([MCPServer(toy_url)])
    content = call_tool(tools, call("show")).content
    assert isinstance(content, list)
    assert content == [
        {"type": "text", "text": "Look:"},
        {"type": "image", "mime_type": "image/png", "data": PIXEL},
        {"type": "audio", "mime_type": "audio/wav", "data": PIXEL},
        {"type": "text", "text": "[notes: file:///notes (text/plain)]"},
        {"type": "text", "text": "[file:///a]\ninside"},
        {"type": "text", "text": "[file:///b]"},
        {"type": "file", "mime_type": "application/pdf", "data": "JVBERi0xLjc="},
        {"type": "text", "text": "[file:///c: 9 bytes of application/octet-stream]"},
        {"type": "text", "text": '{"shown": 7}'},
    ]
    tools.close()


def test_questions_are_answered_on_any_instance(toy_url: str, open_manager: Open) -> None:
    first = open_manager(MCPServer(toy_url), calls=[call("book", place="Oslo")])
    session_id = first.create_or_resume_session("ada")
    result = first.run(session_id, "Book a table.")
    first.agent.shutdown()

    other = open_manager(MCPServer(toy_url), calls=[])
    assert other.list_waiting("ada")[0]["calls"][0]["question"]["message"] == "For which day?"
    result = other.answer(session_id, result.turn_id, {"c1": {"day": "friday", "seats": "4"}})
    (waits,) = result.waiting
    assert waits.question is not None
    assert waits.question.message == "Really friday?"
    result = other.answer(session_id, result.turn_id, {"c1": {"sure": True}})
    assert result.text == "done"
    assert result_of(other, session_id)["content"] == "Oslo, friday, 4 seats, sure"


def test_what_the_server_has_forgotten_is_told_to_the_model(
    toy: MCPServer, open_manager: Open
) -> None:
    manager = open_manager(toy, calls=[call("book", place="Oslo")])
    session_id = manager.create_or_resume_session()
    result = manager.run(session_id, "Book a table.")
    toy.close()  # the next one is another process, which cannot read the state of this one
    result = manager.answer(session_id, result.turn_id, {"c1": {"day": "friday"}})
    assert result.text == "done"
    told = result_of(manager, session_id)
    assert told["metadata"]["is_error"]


def test_a_tool_that_comes_later_is_there_in_the_next_turn(
    toy: MCPServer, open_manager: Open
) -> None:
    manager = open_manager(toy, calls=[call("grow")])
    tools = manager.agent.agent.tools
    assert "grown" not in tools
    assert ask(manager)["content"] == "grown"
    until(lambda: "grown" in tools)
    assert call_tool(tools, call("grown")).content == "here"


def test_a_login_is_sent_with_each_request(toy_url: str) -> None:
    import httpx2

    seen: list[str] = []

    class Login(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request):  # type: ignore[no-untyped-def]
            seen.append(request.method)
            yield request

    with MCPServer(toy_url, auth=Login()) as server:
        assert server.tools()
    assert "POST" in seen


def test_any_transport_of_the_sdk_will_do(toy_url: str) -> None:
    from mcp.client.streamable_http import streamable_http_client

    with MCPServer(transport=lambda: streamable_http_client(toy_url), only="add") as server:
        assert [tool.name for tool in server.tools()] == ["add"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"url": "https://a.example/mcp", "command": "server"},
        {"url": "a.example/mcp"},
        {"url": "https://a.example/mcp", "args": ["-v"]},
        {"command": "server", "args": "-v"},
        {"command": "server", "headers": {"a": "b"}},
        {"command": "server", "only": [7]},
        {"command": "server", "timeout": 0},
        {"command": "server", "open_timeout": -1},
    ],
)
def test_arguments_that_do_not_go_together_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        MCPServer(**given)  # type: ignore[arg-type]


def test_what_is_no_server_is_refused() -> None:
    with pytest.raises(InvalidInput, match="must be an MCPServer"):
        ToolRegistry().add_mcp("https://a.example/mcp")  # type: ignore[arg-type]


def test_a_server_is_called_by_nothing_secret() -> None:
    server = MCPServer("https://me:secret@a.example/mcp?key=secret", headers={"K": "secret"})
    assert str(server) == "MCP server 'a.example'"
    assert "secret" not in repr(server)
    assert "secret" not in repr(server._address.headers and server)


def test_the_sdk_is_imported_when_a_server_is_opened() -> None:
    program = (
        "import sys, miniagent_redis.mcp as here; here.MCPServer(command='x'); "
        "sys.exit('mcp' in sys.modules or 'httpx2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_without_the_sdk_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(InvalidInput, match=r"install 'miniagent-redis\[mcp\]'"):
        MCPServer(command="server").open()
