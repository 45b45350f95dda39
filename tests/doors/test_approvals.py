"""A tool that does harm: OpenAI's clients approve its calls as those of MCP servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, ToolCall, ToolRegistry
from miniagent_redis.llm import ScriptedModel

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
