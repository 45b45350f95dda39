"""Which tools a request lets the agent use: as the model is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, ToolCall, ToolRegistry
from miniagent_redis.llm import Finish, ModelRequest, TextDelta

pytest.importorskip("flask")
from flask import Flask

from miniagent_redis.flask import MiniAgent, openai_blueprint

FLAT = {"type": "function", "name": "locate", "parameters": {"type": "object", "properties": {}}}
NESTED = {"type": "function", "function": {"name": "locate"}}


class Asked:
    """A model that notes what it is asked, and calls a tool if it has to."""

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []

    def stream(self, request: ModelRequest) -> Iterator[Any]:
        self.requests.append(request)
        if "tool_choice" in request.params and request.messages[-1].role == "user":
            yield ToolCall("c1", request.tools[-1].name, {})
        else:
            yield TextDelta("Here.")
        yield Finish()

    @property
    def tools(self) -> list[str]:
        return [tool.name for tool in self.requests[-1].tools]


@pytest.fixture
def model() -> Asked:
    return Asked()


@pytest.fixture
def post(redis_url: str, model: Asked) -> Iterator[Any]:
    tools = ToolRegistry()

    @tools.tool
    def weather() -> str:
        """Tell the weather."""
        return "fine"

    app = Flask("door")
    config = AgentConfig(model=model, name="m")
    agents = MiniAgent(app, config=config, tools=tools, redis_config=RedisConfig(url=redis_url))
    agents.user_loader(lambda: "ada")
    app.register_blueprint(openai_blueprint(agents), url_prefix="/v1")

    def sent(path: str = "responses", **body: Any) -> Any:
        text = (
            {"messages": [{"role": "user", "content": "Hi"}]} if "chat" in path else {"input": "Hi"}
        )
        return app.test_client().post(f"/v1/{path}", json={"model": "m", **text, **body})

    yield sent
    with app.app_context():
        agents.close()


def test_none_and_auto_are_told_by_the_tools_alone(post: Any, model: Asked) -> None:
    for choice, tools in (
        (None, ["weather", "locate"]),
        ("auto", ["weather", "locate"]),
        ("none", []),
    ):
        assert post(tools=[FLAT], tool_choice=choice).json["status"] == "completed"
        assert model.tools == tools
        assert "tool_choice" not in model.requests[-1].params


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("required", "required"),
        ({"type": "function", "name": "locate"}, NESTED),
        (NESTED, NESTED),
        ({"type": "mcp", "server_label": "agent", "name": "weather"},
         {"type": "function", "function": {"name": "weather"}}),
    ],
)  # fmt: skip
def test_a_choice_that_is_forced_goes_to_the_model(
    post: Any, model: Asked, choice: Any, told: Any
) -> None:
    made = post(tools=[FLAT], tool_choice=choice).json
    assert model.requests[0].params["tool_choice"] == told
    assert made["output"][0]["name"] == "locate"
    output = {"type": "function_call_output", "call_id": "c1", "output": "Paris"}
    post(input=[output], previous_response_id=made["id"], tools=[FLAT])
    assert "tool_choice" not in model.requests[-1].params, "the answer's own request has none"


def test_chat_completions_have_it_too(post: Any, model: Asked) -> None:
    tool = {"type": "function", "function": {"name": "locate"}}
    made = post("chat/completions", tools=[tool], tool_choice=NESTED).json
    assert made["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "locate"
    some = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NESTED]}}
    post("chat/completions", tools=[tool], tool_choice=some)
    assert model.tools == ["locate"]


def test_some_tools_may_be_allowed(post: Any, model: Asked) -> None:
    ours: dict[str, Any] = {"type": "mcp", "server_label": "agent"}
    for tools, told in (
        ([{"type": "function", "name": "locate"}], ["locate"]),
        ([ours], ["weather"]),
        (
            [{**ours, "name": "weather"}, {"type": "function", "name": "locate"}],
            ["weather", "locate"],
        ),
        ([], []),
    ):
        post(tools=[FLAT], tool_choice={"type": "allowed_tools", "mode": "auto", "tools": tools})
        assert model.tools == told


@pytest.mark.parametrize(
    "choice",
    [
        "any", 3, [], {"name": "locate"}, {"type": "function"},
        {"type": "function", "name": "nobody"},
        {"type": "web_search"}, {"type": "mcp", "server_label": "other"},
        {"type": "mcp", "server_label": "agent"},
        {"type": "allowed_tools", "mode": "any", "tools": []},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function"}]},
        {"type": "allowed_tools", "mode": "auto", "tools": 3},
    ],
)  # fmt: skip
def test_what_is_no_choice_is_refused(post: Any, model: Asked, choice: Any) -> None:
    for path, tools in (
        ("responses", [FLAT]),
        ("chat/completions", [{"type": "function", "function": {"name": "locate"}}]),
    ):
        refused = post(path, tools=tools, tool_choice=choice)
        assert refused.status_code == 400, refused.json
        assert refused.json["error"]["param"].startswith("tool_choice")
    assert model.requests == []
