"""Results of a client's functions that are sent twice: the response that they began is one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, ToolCall, ToolRegistry
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.store.parking import Parking
from tests.doors.conftest import KEY
from tests.support.waiting import LIMIT

pytest.importorskip("flask")
from flask import Flask

from miniagent_redis.flask import MiniAgent, openai_blueprint

TOOLS = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]
Post = Any


@pytest.fixture
def post(redis_url: str) -> Iterator[Post]:
    app: Any = import_module("tests.support.openai_app").make_app(redis_url)
    client = app.test_client()

    def send(path: str, **body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {KEY}"}
        given = {"model": "demo", "tools": TOOLS, **body} if path == "responses" else body
        answer = client.post(f"/v1/{path}", json=given, headers=headers)
        return answer.status_code, answer.json

    yield send
    with app.app_context():
        for agents, _ in app.extensions["miniagent"].values():
            agents.close()


def output_of(response: Any) -> list[Any]:
    (call,) = response["output"]
    assert call["type"] == "function_call"
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}]


def test_in_a_conversation_they_are_answered_once(post: Post) -> None:
    _, conversation = post("conversations")
    _, asked = post("responses", input="Paris?", conversation=conversation["id"])
    results = {"input": output_of(asked), "conversation": conversation["id"]}
    status, first = post("responses", **results)
    assert status == 200
    status, again = post("responses", **results)
    assert (status, again["id"]) == (200, first["id"])
    assert again["output"][0]["content"][0]["text"] == "The tool get_weather says: sunny"
    status, told = post("responses", input=[{**results["input"][0], "call_id": "c9"}],
                        conversation=conversation["id"])  # fmt: skip
    assert (status, told["error"]["param"]) == (400, "input")


@pytest.mark.parametrize("kind", ["conversation", "previous_response_id"])
def test_two_that_come_at_a_time_are_one_response(
    post: Post, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _, conversation = post("conversations")
    where = {"conversation": conversation["id"]} if kind == "conversation" else {}
    _, asked = post("responses", input="Paris?", **where)
    results = {"input": output_of(asked), **(where or {kind: asked["id"]})}
    parked, others = Parking.parked, []

    def looked(self: Parking, *args: Any, **more: Any) -> Any:
        monkeypatch.setattr(Parking, "parked", parked)
        others.append(post("responses", **results))
        return parked(self, *args, **more)

    monkeypatch.setattr(Parking, "parked", looked)
    status, told = post("responses", **results)
    ((other_status, other),) = others
    assert (status, other_status) == (200, 200)
    assert told["id"] == other["id"]


def test_an_approval_that_is_sent_again_while_the_tool_runs_joins_it(redis_url: str) -> None:
    tools, may_run = ToolRegistry(), threading.Event()
    runs: list[int] = []

    @tools.tool(approve=True)
    def refund(order: int) -> str:
        """Pay an order back."""
        runs.append(order)
        may_run.wait(LIMIT)
        return "paid back"

    app = Flask("shop")
    script = [ToolCall("c1", "refund", {"order": 7}), "So be it."]
    config = AgentConfig(model=ScriptedModel(script), name="shop")
    agents = MiniAgent(app, config=config, tools=tools, redis_config=RedisConfig(url=redis_url))
    agents.user_loader(lambda: "ada")
    app.register_blueprint(openai_blueprint(agents), url_prefix="/v1")
    client = app.test_client()
    asked: Any = client.post("/v1/responses", json={"model": "shop", "input": "Money!"}).json
    answer = {
        "type": "mcp_approval_response",
        "approval_request_id": asked["output"][0]["id"],
        "approve": True,
    }
    body = {"model": "shop", "input": [answer], "previous_response_id": asked["id"]}
    first, again = (
        client.post("/v1/responses", json={**body, "background": True}) for _ in range(2)
    )
    may_run.set()
    assert (first.status_code, again.status_code) == (200, 200), again.json
    made: Any = first.json
    assert made["id"] == (again.json or {})["id"]
    assert "So be it." in client.get(f"/v1/responses/{made['id']}?stream=true").text
    assert runs == [7]
    with app.app_context():
        agents.close()
