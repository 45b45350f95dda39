"""Pictures that tools give and models answer with, the vendors' own tools, and pauses."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from tests.llm.test_tool_choice import called
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import (
    PROVIDERS,
    anthropic_block,
    anthropic_reply,
    gemini_chunk,
    name,
    openai_chunk,
    said,
)

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(60)).decode()
URL = f"data:image/png;base64,{PIXEL}"
IMAGE = {"type": "image", "mime_type": "image/png", "data": PIXEL}
GIVEN: dict[str, Any] = {
    "a part": [{"type": "text", "text": "the page"}, IMAGE],
    "MCP's": ["the page", {"type": "image", "mimeType": "image/png", "data": PIXEL}],
    "bytes": ["the page", base64.b64decode(PIXEL)],
}  # fmt: skip


def chat(
    model: Any, redis_url: str, *texts: str, tools: ToolRegistry | None = None, **config: Any
) -> list[dict[str, Any]]:
    agent = SessionAgent(
        AgentConfig(model=model, **config), tools, redis_config=RedisConfig(url=redis_url)
    )
    with agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        for text in texts:
            manager.chat(session_id, text)
        return manager.get_history(session_id)


@pytest.mark.parametrize("way", GIVEN)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_picture_that_a_tool_gives_is_seen_by_the_model(
    provider: str, way: str, canned: CannedServer, redis_url: str
) -> None:
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: GIVEN[way])
    canned.add(*called(provider))
    canned.add(*said(provider, "A page."))
    history = chat(name(provider, canned), redis_url, "Look!", tools=tools)
    assert history[2]["content"] == [{"type": "text", "text": "the page"}, IMAGE]
    body = canned.bodies[1]
    if provider == "anthropic":
        text, image = body["messages"][-1]["content"][0]["content"]
        assert (text["text"], image["source"]["data"]) == ("the page", PIXEL)
    elif provider == "gemini":
        result, image = body["contents"][-1]["parts"]
        assert "the page" in result["functionResponse"]["response"]["output"]
        assert PIXEL.rstrip("=") in str(image["inlineData"])
    else:
        result, _, shown = body["messages"][-3:]
        assert result == {
            "role": "tool",
            "tool_call_id": "c1",
            "content": "the page\n[image: below]",
        }
        assert shown["content"][1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"


BLOB = {"inlineData": {"mimeType": "image/png", "data": PIXEL}}
PICTURE = {"images": [{"type": "image_url", "image_url": {"url": URL}}]}  # OpenRouter's
ANSWERS = {
    "gemini": [gemini_chunk(BLOB, finish="STOP")],
    "openai": [openai_chunk(PICTURE), openai_chunk({}, "stop")],
}


@pytest.mark.parametrize("provider", ANSWERS)
def test_a_picture_is_an_answer(provider: str, canned: CannedServer, redis_url: str) -> None:
    canned.add(*ANSWERS[provider])
    canned.add(*said(provider, "Done."))
    history = chat(name(provider, canned), redis_url, "Draw!", "And now?")
    assert history[1]["content"] == [IMAGE]
    assert "metadata" not in history[1] or "finish_reason" not in history[1]["metadata"]
    again = json.dumps(canned.bodies[1])
    assert (again.count(PIXEL) == 1) if provider == "gemini" else "[image (image/png) left" in again


@pytest.mark.parametrize(
    ("model", "own"),
    [
        (AnthropicModel, {"type": "web_search_20250305", "name": "web_search"}),
        (GeminiModel, {"google_search": {}}),
        (OpenAIModel, {"type": "function", "function": {"name": "theirs"}}),
    ],
)
def test_the_vendors_own_tools_are_added_to_ours(
    model: Any, own: Any, canned: CannedServer, redis_url: str
) -> None:
    provider = model.provider
    canned.add(*said(provider, "Hi"))
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: "a cat")
    chat(model("m", base_url=canned.url, tools=[own]), redis_url, "Hi", tools=tools)
    sent = json.dumps(canned.bodies[0]["tools"])
    assert '"look"' in sent
    assert "web_search" in sent or "googleSearch" in sent or "theirs" in sent


SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}


def paused(text: str) -> list[Any]:
    query = {"type": "input_json_delta", "partial_json": '{"query": "x"}'}
    words = anthropic_block(0, {"type": "text", "text": text})
    return anthropic_reply(words, anthropic_block(1, SEARCH, query), stop="pause_turn")


def test_a_reply_that_pauses_goes_back_as_it_is_and_goes_on(
    canned: CannedServer, redis_url: str
) -> None:
    canned.add(*paused("I look around. "))
    canned.add(*said("anthropic", "It is 42."))
    canned.add(*said("anthropic", "Sure."))
    history = chat(name("anthropic", canned), redis_url, "Find out!", "Sure?")
    assert history[1]["content"] == "I look around. It is 42."
    assert history[1]["metadata"]["usage"]["output_tokens"] == 14, "both parts are paid for"
    begun = [{"type": "text", "text": "I look around. "}, SEARCH | {"input": {"query": "x"}}]
    assert canned.bodies[1]["messages"][-1] == {"role": "assistant", "content": begun}
    told = canned.bodies[2]["messages"][1]["content"]
    assert told == [*begun, {"type": "text", "text": "It is 42."}]


def test_a_reply_that_pauses_for_ever_comes_to_an_end(canned: CannedServer, redis_url: str) -> None:
    for _ in range(20):
        canned.add(*paused("Hm. "))
    history = chat(name("anthropic", canned), redis_url, "Find out!")
    assert history[1]["metadata"]["finish_reason"] == "pause_turn"
    assert len(canned.bodies) == 11


def test_an_answer_of_anthropics_in_one_piece_is_taken_too(
    canned: CannedServer, redis_url: str
) -> None:
    canned.kind = "application/json"
    usage = {"input_tokens": 3, "output_tokens": 1}
    content = [{"type": "text", "text": "Hello"}]
    whole = {"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage}
    canned.add(json.dumps(whole).encode())
    model = AnthropicModel("m", base_url=canned.url, stream=False)
    assert chat(model, redis_url, "Hi")[1]["content"] == "Hello"
    assert canned.bodies[0]["stream"] is False
