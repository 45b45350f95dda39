"""OpenAI's Responses API: chosen where it is needed, and a conversation by it like any other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.errors import InvalidInput, ModelError
from miniagent_redis.llm import ContentPart, ModelRequest, ReasoningDelta, ask, fold, resolve_model
from miniagent_redis.llm.base import ToolSpec
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.models import Message, Usage
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, said

REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VjcmV0"}
CALL = {
    "type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}",
    "status": "completed",
}  # fmt: skip
REFUSED = {
    "error": {
        "message": "Function tools with reasoning_effort are not supported for gpt-5.6 in "
        "/v1/chat/completions. Use /v1/responses or set reasoning_effort to 'none'.",
        "param": "reasoning_effort",
    }
}
TOOLS = (ToolSpec("look", "Look.", {"type": "object", "properties": {}}),)


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text}], **more}


def response(*items: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 18,
        "output_tokens": 7,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    whole = {"object": "response", "output": list(items), "usage": usage, "error": None}
    return {**whole, "status": status, **more}


def streamed(*items: dict[str, Any], status: str = "completed", **more: Any) -> list[Any]:
    events: list[Any] = [{"type": "response.created", "response": {"object": "response"}}]
    for place, item in enumerate(items):
        for part in item.get("content", ()):
            delta = {"delta": part["text"], "output_index": place}
            events.append({"type": "response.output_text.delta", **delta})
        events.append({"type": "response.output_item.done", "item": item, "output_index": place})
    whole = response(*items, status=status, **more)
    return [*events, {"type": f"response.{status}", "response": whole}]


def test_reasoning_is_stored_and_goes_back_with_its_call(
    canned: CannedServer, redis_url: str
) -> None:
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: "a cat")
    canned.add(*streamed(REASONING | {"status": None}, message("Let me see.", phase="x"), CALL))
    canned.add(*streamed(message("A cat.")))
    config = AgentConfig(
        model=f"openai-responses:gpt-5@{canned.url}", system_prompt="Be brief.", max_tokens=50
    )
    with SessionAgent(config, tools, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        result = manager.run(manager.create_or_resume_session(), "Look!")
    assert (result.text, result.usage) == (
        "A cat.",
        Usage(36, 14, cached_tokens=10, reasoning_tokens=6),
    )
    first, second = canned.bodies
    assert canned.paths == ["/responses", "/responses"]
    assert (first["instructions"], first["store"], first["stream"]) == ("Be brief.", False, True)
    assert first["include"] == ["reasoning.encrypted_content"]
    assert first["max_output_tokens"] == 50
    assert first["tools"][0]["name"] == "look"
    assert second["input"] == [
        {"role": "user", "content": "Look!"},
        REASONING,
        {"role": "assistant", "content": "Let me see.", "phase": "x"},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "a cat"},
    ]


def test_reasoning_of_another_model_stays_away(canned: CannedServer) -> None:
    canned.add(*streamed(REASONING, message("Hello")))
    reply = fold(OpenAIModel("gpt-5", base_url=canned.url, api="responses").stream(HI))
    data = [{"provider": each.provider, "data": each.data} for each in reply.blocks]
    earlier = Message("assistant", "Hello", metadata={"blocks": data})
    for name in ("gpt-5", "gpt-6"):
        canned.add(*streamed(message("Hi")))
        model = OpenAIModel(name, base_url=canned.url, api="responses")
        fold(model.stream(ModelRequest((*HI.messages, earlier, *HI.messages))))
    assert REASONING in canned.bodies[1]["input"]
    assert "secret" not in json.dumps(canned.bodies[2])
    assert {"role": "assistant", "content": "Hello"} in canned.bodies[2]["input"]


def test_a_refusal_that_names_the_api_is_heeded_and_remembered(canned: CannedServer) -> None:
    model = OpenAIModel("gpt-5.6", base_url=canned.url, reasoning_effort="low", n=1)
    canned.add(REFUSED, status=400)
    request = ModelRequest(HI.messages, TOOLS, timeout=10)
    for _ in range(2):
        canned.add(*streamed(message("Hello")))
        assert fold(model.stream(request)).text == "Hello"
    assert canned.paths == ["/chat/completions", "/responses", "/responses"]
    assert canned.bodies[1]["reasoning"] == {"effort": "low"}
    assert "n" not in canned.bodies[1]


def test_a_gateway_that_has_chat_completions_only_goes_without_reasoning(
    canned: CannedServer,
) -> None:
    model = OpenAIModel("gpt-5.6", base_url=canned.url)
    canned.add(REFUSED, status=400)
    canned.add({"error": {"message": "Not Found"}}, status=404)
    canned.add(*said("openai", "Hello"))
    canned.add(*said("openai", "Hello"))
    fold(model.stream(ModelRequest(HI.messages, TOOLS, timeout=10)))
    fold(model.stream(HI))
    assert canned.bodies[2]["reasoning_effort"] == "none"
    assert "reasoning_effort" not in canned.bodies[3], "which has no tools"


def test_another_refusal_is_told_and_not_asked_for_twice(canned: CannedServer) -> None:
    model = resolve_model(f"openai:gpt-5.6@{canned.url}")
    canned.add(REFUSED, status=400)
    canned.add({"error": {"message": "The image is too small"}}, status=400)
    with pytest.raises(ModelError, match="image is too small"):
        fold(model.stream(HI))


def test_an_api_that_was_asked_for_is_not_left(canned: CannedServer) -> None:
    canned.add(REFUSED, status=400)
    with pytest.raises(ModelError, match="/v1/responses"):
        fold(resolve_model(f"openai-chat:m@{canned.url}").stream(HI))
    with pytest.raises(InvalidInput, match="api must be"):
        OpenAIModel("m", api="completions")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "option", [{"reasoning": {"effort": "low"}}, {"tools": [{"type": "web_search"}]}]
)
def test_options_that_only_it_has_choose_it(option: Any, canned: CannedServer) -> None:
    canned.add(*streamed(message("Hello")))
    fold(OpenAIModel("m", base_url=canned.url, **option).stream(HI))
    assert canned.paths == ["/responses"]
    (name,) = option
    assert canned.bodies[0][name] == option[name]


STREAM_REFUSED = {
    "error": {
        "message": "Your organization must be verified to stream this model.",
        "param": "stream",
        "code": "unsupported_value",
    }
}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_where_streaming_is_refused_the_answer_comes_in_one_piece(
    api: Any, canned: CannedServer
) -> None:
    choice = {"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    whole = {"choices": [choice]} if api == "chat" else response(message("Hello"))
    canned.kind = "application/json"
    canned.add(STREAM_REFUSED, status=400)
    canned.add(json.dumps(whole).encode())
    model = OpenAIModel("m", base_url=canned.url, api=api)
    assert fold(model.stream(HI)).text == "Hello"
    assert [body["stream"] for body in canned.bodies] == [True, False]
    canned.add(json.dumps(whole).encode())
    model = OpenAIModel("m", base_url=canned.url, api=api, stream=False)
    assert fold(model.stream(HI)).text == "Hello"
    assert canned.bodies[2]["stream"] is False


def test_how_an_answer_ended_is_told(canned: CannedServer) -> None:
    model = OpenAIModel("m", base_url=canned.url, api="responses")
    cut = {"incomplete_details": {"reason": "max_output_tokens"}}
    canned.add(*streamed(message("Hel"), status="incomplete", **cut))
    assert fold(model.stream(HI)).finish_reason == "length"
    error = {"code": "server_error", "message": "It broke"}
    canned.add(*streamed(status="failed", error=error))
    with pytest.raises(ModelError, match="It broke"):
        fold(model.stream(HI))
    canned.add(*streamed(message("Hel"))[:2])
    with pytest.raises(ModelError, match="broke off"):
        fold(model.stream(HI))


def test_summaries_of_reasoning_and_pictures_are_told(canned: CannedServer) -> None:
    place = {"output_index": 0}
    delta = {"type": "response.reasoning_summary_text.delta", "delta": "Hm.", **place}
    picture = {"type": "image_generation_call", "id": "ig_1", "result": "cGl4ZWw="}
    canned.add(delta, *streamed(REASONING, picture))
    events = list(ask(OpenAIModel("m", base_url=canned.url, api="responses"), HI))
    assert ReasoningDelta("Hm.") in events
    part = {"type": "image", "mime_type": "image/png", "data": "cGl4ZWw="}
    assert ContentPart(part) in events
