"""A choice of tools that is forced holds until it was made, and only where there are tools."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import (
    PROVIDERS,
    anthropic_block,
    anthropic_reply,
    gemini_chunk,
    openai_chunk,
    said,
)

KINDS: dict[str, Any] = {"openai": OpenAIModel, "anthropic": AnthropicModel, "gemini": GeminiModel}
FORCED: dict[str, dict[str, Any]] = {
    "openai": {"tool_choice": "required"},
    "anthropic": {"tool_choice": {"type": "tool", "name": "look"}},
    "gemini": {"tool_config": {"function_calling_config": {"mode": "ANY"}}},
}


def called(provider: str, name: str = "look") -> list[Any]:
    if provider == "openai":
        function = {"name": name, "arguments": "{}"}
        call = {"index": 0, "id": "c1", "type": "function", "function": function}
        return [openai_chunk({"tool_calls": [call]}), openai_chunk({}, "tool_calls"), "[DONE]"]
    if provider == "anthropic":
        use = {"type": "tool_use", "id": "c1", "name": name, "input": {}}
        return anthropic_reply(anthropic_block(0, use), stop="tool_use")
    return [gemini_chunk({"functionCall": {"name": name, "args": {}}}, finish="STOP")]


def choice(provider: str, body: dict[str, Any]) -> Any:
    """Return what the request says of the choice of tools."""
    if provider == "gemini":
        return body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode")
    if provider == "anthropic":
        return body.get("tool_choice", {}).get("type")
    return body.get("tool_choice")


def chat(
    provider: str, canned: CannedServer, redis_url: str, *replies: list[Any], **config: Any
) -> list[Any]:
    """Hold a turn with a model that has to call a tool; return the choice in each request."""
    for reply in (*replies, said(provider, "A cat.")):
        canned.add(*reply)
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: "a cat")
    model = KINDS[provider]("m", base_url=canned.url, **FORCED[provider])
    config |= {"model": model}
    with SessionAgent(
        AgentConfig(**config), tools, redis_config=RedisConfig(url=redis_url)
    ) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        assert manager.chat(session_id, "Look!") == "A cat."
        canned.add(*said(provider, "Hello"))
        manager.chat(session_id, "Hi!")
    return [choice(provider, body) for body in canned.bodies]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_holds_until_a_tool_was_run_and_for_the_next_message_again(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    first, second, third = chat(provider, canned, redis_url, called(provider))
    assert first == third
    assert first is not None
    assert second in (None, "auto")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_call_that_could_not_be_run_has_not_made_it(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    choices = chat(provider, canned, redis_url, called(provider, "listen"), called(provider))
    assert choices[0] == choices[1]
    assert choices[2] in (None, "auto")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_last_of_max_steps_goes_without_it(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    bad = called(provider, "listen")
    choices = chat(provider, canned, redis_url, bad, max_steps=2)
    assert choices[1] in (None, "none")
    if provider != "anthropic":  # which wants to know the tools that were called
        assert "tools" not in canned.bodies[1]


def test_without_tools_there_is_no_word_of_them(canned: CannedServer, redis_url: str) -> None:
    canned.add(*said("openai", "Hi"))
    model = OpenAIModel("m", base_url=canned.url, tool_choice="required", parallel_tool_calls=False)
    with SessionAgent(AgentConfig(model=model), redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        manager.chat(manager.create_or_resume_session(), "Hi")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & canned.bodies[0].keys()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("is_named", [True, False])
def test_for_one_turn_it_is_given_in_openais_words_and_sent_in_the_vendors(
    provider: str, is_named: bool, canned: CannedServer, redis_url: str
) -> None:
    for reply in (called(provider), said(provider, "A cat.")):
        canned.add(*reply)
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: "a cat")
    config = AgentConfig(model=KINDS[provider]("m", base_url=canned.url))
    forced = {"type": "function", "function": {"name": "look"}} if is_named else "required"
    with SessionAgent(config, tools, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        assert manager.chat(session_id, "Look!", params={"tool_choice": forced}) == "A cat."
    first, second = (choice(provider, body) for body in canned.bodies)
    expected: dict[str, Any] = {
        "openai": forced,
        "anthropic": "tool" if is_named else "any",
        "gemini": "ANY",
    }
    assert first == expected[provider]
    assert second in (None, "auto")
    if is_named:
        assert "look" in str(
            canned.bodies[0].get("tool_choice", canned.bodies[0].get("toolConfig"))
        )
