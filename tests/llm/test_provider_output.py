"""How each provider is told the form of an answer: natively where it can, else in words."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import PROVIDERS, name, said


@attrs.frozen
class Box:
    size: int


SCHEMA = {
    "type": "object",
    "properties": {"size": {"type": "integer"}},
    "required": ["size"],
    "additionalProperties": False,
}
IN_WORDS = "It must fit this JSON schema"


def asked(
    canned: CannedServer,
    model: Any,
    *texts: str,
    output: Any = Box,
    tools: ToolRegistry | None = None,
) -> Any:
    """Ask for an answer, and return its data."""
    for text in texts:
        canned.add(*said(model.partition(":")[0] if isinstance(model, str) else "openai", text))
    redis = RedisConfig(url="memory://")
    with SessionAgent(AgentConfig(model=model), tools, redis_config=redis) as agent:
        manager = SessionManager(agent)
        return manager.run(manager.create_or_resume_session(), "How big?", output=output).output


def look() -> ToolRegistry:
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: "a cat")
    return tools


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("with_tools", [False, True])
def test_each_provider_answers_with_data(
    provider: str, with_tools: bool, canned: CannedServer
) -> None:
    tools = look() if with_tools else None
    found = asked(canned, name(provider, canned), "huge", '{"size": 3}', tools=tools)
    assert found == Box(3)
    first, second = canned.bodies
    assert "'answer" not in json.dumps(first)
    assert "That answer cannot be used" in json.dumps(second)


def test_openai_is_given_the_schema(canned: CannedServer) -> None:
    asked(canned, name("openai", canned), '{"size": 3}', tools=look())
    (body,) = canned.bodies
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "Box", "schema": SCHEMA, "strict": True},
    }
    assert body["tools"]
    assert IN_WORDS in body["messages"][0]["content"]  # the server is not OpenAI's own


def test_openai_is_told_in_words_of_what_is_no_object(canned: CannedServer) -> None:
    assert asked(canned, name("openai", canned), "[1, 2]", output=list[int]) == [1, 2]
    assert "response_format" not in canned.bodies[0]
    assert IN_WORDS in canned.bodies[0]["messages"][0]["content"]


def test_an_option_of_the_model_goes_before(canned: CannedServer) -> None:
    form = {"type": "json_object"}
    model = OpenAIModel("some-model", base_url=canned.url, response_format=form)
    assert asked(canned, model, '{"size": 3}') == Box(3)
    assert canned.bodies[0]["response_format"] == form
    assert IN_WORDS in canned.bodies[0]["messages"][0]["content"]


def test_gemini_is_given_the_schema_unless_there_are_tools(canned: CannedServer) -> None:
    asked(canned, name("gemini", canned), '{"size": 3}')
    asked(canned, name("gemini", canned), '{"size": 3}', tools=look())
    plain, with_tools = canned.bodies
    config = plain["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == SCHEMA
    assert "systemInstruction" not in plain
    assert "responseJsonSchema" not in with_tools.get("generationConfig", {})
    assert IN_WORDS in json.dumps(with_tools["systemInstruction"])


def test_anthropic_is_told_in_words(canned: CannedServer) -> None:
    asked(canned, name("anthropic", canned), '{"size": 3}')
    assert IN_WORDS in canned.bodies[0]["system"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_a_form_nothing_is_sent_of_it(provider: str, canned: CannedServer) -> None:
    asked(canned, name(provider, canned), "Hi", output=None)
    told = json.dumps(canned.bodies[0])
    assert not any(word in told for word in ("response", "JSON"))
