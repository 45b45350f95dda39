"""A tool that does harm: OpenAI's clients approve its calls as those of MCP servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, ToolCall, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from tests.support.waiting import LIMIT

pytest.importorskip("flask")
from flask import Flask

from miniagent_redis.flask import MiniAgent, openai_blueprint

ASK: dict[str, Any] = {"model": "shop", "input": "I want my money back!"}


@pytest.fixture
def refunded() -> list[int]:
    return []


@pytest.fixture
def post(redis_url: str, refunded: list[int]) -> Iterator[Any]:
    """Yield what posts to the responses of a shop."""
    tools = ToolRegistry()

    @tools.tool(approve=True)
    def refund(order: int) -> str:
        """Pay an order back."""
        refunded.append(order)
        return "paid back"

    app = Flask("shop")
    script = [ToolCall("c1", "refund", {"order": 7}), "So be it."]
    config = AgentConfig(model=ScriptedModel(script), name="shop")
    agents = MiniAgent(app, config=config, tools=tools, redis_config=RedisConfig(url=redis_url))
    agents.user_loader(lambda: "ada")
    app.register_blueprint(openai_blueprint(agents), url_prefix="/v1")
    client = app.test_client()
    yield lambda **body: client.post("/v1/responses", json=body).json
    with app.app_context():
        agents.close()


@pytest.mark.parametrize("approve", [True, False])
def test_a_call_is_run_once_it_is_approved_and_not_if_it_is_declined(
    post: Any, refunded: list[int], approve: bool
) -> None:
    asked = post(**ASK)
    (request,) = asked["output"]
    assert (request["type"], request["name"]) == ("mcp_approval_request", "refund")
    assert refunded == []
    assert "c1" in post(**ASK, previous_response_id=asked["id"])["error"]["message"]
    answer = {
        "type": "mcp_approval_response",
        "approval_request_id": request["id"],
        "approve": approve,
        "reason": "not today",
    }
    made = post(model="shop", input=[answer], previous_response_id=asked["id"])
    call, said = made["output"]
    assert said["content"][0]["text"] == "So be it."
    assert call["type"] == "mcp_call"
    assert refunded == ([7] if approve else [])
    assert (call["error"] is None) == approve
    assert approve or "not today" in call["error"]


def test_in_the_background_the_response_is_there_before_the_tool_has_run(
    redis_url: str,
) -> None:
    tools, may_run = ToolRegistry(), threading.Event()

    @tools.tool(approve=True)
    def refund(order: int) -> str:
        """Pay an order back."""
        may_run.wait(LIMIT)
        return "paid back"

    app = Flask("shop")
    script = [ToolCall("c1", "refund", {"order": 7}), "So be it."]
    config = AgentConfig(model=ScriptedModel(script), name="shop")
    agents = MiniAgent(app, config=config, tools=tools, redis_config=RedisConfig(url=redis_url))
    agents.user_loader(lambda: "ada")
    app.register_blueprint(openai_blueprint(agents), url_prefix="/v1")
    client = app.test_client()
    asked: Any = client.post("/v1/responses", json=ASK).json
    request_id = asked["output"][0]["id"]
    answer = {"type": "mcp_approval_response", "approval_request_id": request_id, "approve": True}
    body = {"model": "shop", "input": [answer], "previous_response_id": asked["id"]}
    made: Any = client.post("/v1/responses", json={**body, "background": True}).json
    assert (made["status"], made["output"]) == ("in_progress", [])
    assert made["id"] != asked["id"]
    may_run.set()
    told = client.get(f"/v1/responses/{made['id']}?stream=true").text
    assert "So be it." in told
    done: Any = client.get(f"/v1/responses/{made['id']}").json
    assert (done["status"], done["model"]) == ("completed", "shop")
    with app.app_context():
        agents.close()
