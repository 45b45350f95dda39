"""The SDKs against prepared streams: what comes beside text, is stored, and goes back."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolRegistry,
)
from miniagent_redis.llm import TextDelta, Usage, ask, fold, resolve_model
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import (
    HI,
    PROVIDERS,
    anthropic_block,
    anthropic_reply,
    gemini_chunk,
    name,
    openai_chunk,
    said,
)


def hold(model: str, redis_url: str) -> list[dict[str, Any]]:
    """Hold a turn with the tool ``look`` and one without, and return the history."""
    tools = ToolRegistry()
    tools.tool(name="look")(lambda: "a cat")
    config = AgentConfig(model=model, max_tokens=50, temperature=0.5)
    with SessionAgent(config, tools, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        assert manager.chat(session_id, "Look!") == "A cat."
    with SessionAgent(config, tools, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        assert manager.chat(session_id, "Sure?") == "Yes."
        return manager.get_history(session_id)


def used(provider: str) -> Usage:
    written = 0 if provider == "gemini" else 3  # whose cache fills by itself
    return Usage(18, 7, cached_tokens=5, cache_write_tokens=written, reasoning_tokens=3)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_is_counted_in_the_same_way(provider: str, canned: CannedServer) -> None:
    canned.add(*said(provider, "Hello"))
    reply = fold(resolve_model(name(provider, canned)).stream(HI))
    assert reply.text == "Hello"
    assert reply.usage == used(provider)
    assert reply.blocks == ()


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_what_is_paid_for_is_told_before_the_answer_ends(
    provider: str, canned: CannedServer
) -> None:
    events = said(provider, "Hello", "there")
    if provider == "gemini":
        events[0]["usageMetadata"] = {"promptTokenCount": 18, "candidatesTokenCount": 1}
    canned.add(*events)
    told = list(ask(resolve_model(name(provider, canned)), HI))
    counted = [event for event in told if isinstance(event, Usage)]
    assert told.index(counted[0]) < told.index(TextDelta("there"))
    assert counted[0].input_tokens == 18
    assert sum(counted, Usage()) == used(provider)


def test_thinking_of_anthropic_is_stored_and_sent_back_as_it_came(
    canned: CannedServer, redis_url: str
) -> None:
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    redacted = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    canned.add(
        *anthropic_reply(
            anthropic_block(
                0,
                thinking,
                {"type": "thinking_delta", "thinking": "I should "},
                {"type": "thinking_delta", "thinking": "look."},
                {"type": "signature_delta", "signature": "c2ln"},
            ),
            anthropic_block(
                1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Let me "}
            ),
            anthropic_block(2, redacted),
            anthropic_block(
                3, {"type": "text", "text": ""}, {"type": "text_delta", "text": "see."}
            ),
            anthropic_block(4, use, {"type": "input_json_delta", "partial_json": ""}),
            stop="tool_use",
        )
    )
    canned.add(*said("anthropic", "A cat."))
    canned.add(*said("anthropic", "Yes."))
    history = hold(name("anthropic", canned), redis_url)
    assert history[1]["content"] == "Let me see."
    for body in canned.bodies[1:]:
        assert body["messages"][1] == {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I should look.", "signature": "c2ln"},
                {"type": "text", "text": "Let me "},
                redacted,
                {"type": "text", "text": "see."},
                use,
            ],
        }
    assert (canned.bodies[0]["max_tokens"], canned.bodies[0]["temperature"]) == (50, 0.5)


def test_thought_signatures_of_gemini_are_stored_and_sent_back_as_they_came(
    canned: CannedServer, redis_url: str
) -> None:
    thought = {"text": "I should look.", "thought": True}
    text = {"text": "Let me see.", "thoughtSignature": "dGV4dA=="}
    call = {"functionCall": {"id": "g-1", "name": "look", "args": {}}, "thoughtSignature": "_-8="}
    canned.add(gemini_chunk(thought), gemini_chunk(text), gemini_chunk(call, finish="STOP"))
    canned.add(*said("gemini", "A cat."))
    canned.add(*said("gemini", "Yes."))
    history = hold(name("gemini", canned), redis_url)
    assert history[1]["content"] == "Let me see."
    for body in canned.bodies[1:]:
        assert body["contents"][1] == {"role": "model", "parts": [thought, text, call]}
        answer = {"id": "g-1", "name": "look", "response": {"output": "a cat"}}
        assert body["contents"][2]["parts"][0] == {"functionResponse": answer}
    config = canned.bodies[0]["generationConfig"]
    assert (config["maxOutputTokens"], config["temperature"]) == (50, 0.5)
    # For the whole answer, so not the 60 seconds of silence that are allowed.
    assert canned.headers[0]["x-server-timeout"] == "600"


def test_reasoning_of_a_compatible_server_is_stored_and_sent_back_as_it_came(
    canned: CannedServer, redis_url: str
) -> None:
    signature = {"google": {"thought_signature": "c2ln"}}
    detail = {"type": "reasoning.text", "index": 0, "text": "I "}
    start = {"index": 0, "id": "call_1", "type": "function", "extra_content": signature}
    canned.add(
        openai_chunk({"reasoning_content": "I should ", "reasoning_details": [detail]}),
        openai_chunk({"reasoning_content": "look.", "reasoning_details": [detail]}),
        openai_chunk({"tool_calls": [start | {"function": {"name": "look", "arguments": "{"}}]}),
        openai_chunk({"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}),
        openai_chunk({}, "tool_calls"),
        "[DONE]",
    )
    canned.add(*said("openai", "A cat."))
    canned.add(*said("openai", "Yes."))
    hold(name("openai", canned), redis_url)
    for body in canned.bodies[1:]:
        sent = body["messages"][1]
        assert sent["reasoning_content"] == "I should look."
        assert sent["reasoning_details"] == [detail | {"text": "I I "}]
        assert sent["tool_calls"][0]["extra_content"] == signature
        assert sent["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert (canned.bodies[0]["max_tokens"], canned.bodies[0]["temperature"]) == (50, 0.5)


def test_citations_and_callers_of_anthropic_are_stored_and_sent_back_as_they_came(
    canned: CannedServer, redis_url: str
) -> None:
    cites = [
        {"type": "char_location", "cited_text": text, "document_index": 0} for text in ("a", "b")
    ]
    deltas = [{"type": "citations_delta", "citation": one} for one in cites]
    caller = {"type": "code_execution_20250825", "tool_id": "srvtoolu_1"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}, "caller": caller}
    canned.add(
        *anthropic_reply(
            anthropic_block(
                0,
                {"type": "text", "text": "", "citations": []},
                {"type": "text_delta", "text": "Seen. "},
                *deltas,
            ),
            anthropic_block(1, {"type": "text", "text": "Let me see."}),
            anthropic_block(2, use),
            stop="tool_use",
        )
    )
    canned.add(*said("anthropic", "A cat."))
    canned.add(*said("anthropic", "Yes."))
    assert hold(name("anthropic", canned), redis_url)[1]["content"] == "Seen. Let me see."
    for body in canned.bodies[1:]:
        assert body["messages"][1]["content"] == [
            {"type": "text", "text": "Seen. ", "citations": cites},
            {"type": "text", "text": "Let me see."},
            use,
        ]


def test_what_one_server_signed_is_not_sent_to_another_of_its_kind(
    canned: CannedServer, redis_url: str
) -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    text = {"type": "text", "text": "Hello."}
    canned.add(*anthropic_reply(anthropic_block(0, thinking), anthropic_block(1, text)))
    canned.add(*said("anthropic", "Yes."))
    session_id = None
    for address in (canned.url, canned.url.replace("127.0.0.1", "localhost")):
        config = AgentConfig(model=f"anthropic:some-model@{address}")
        with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
            manager = SessionManager(agent)
            session_id = manager.create_or_resume_session(session_id=session_id)
            manager.chat(session_id, "Hi")
    assert canned.bodies[1]["messages"][1]["content"] == [text]


@pytest.mark.parametrize("call_id", ["functions.look:0", "call_" + "x" * 200, "ü 1"])
def test_ids_go_back_to_a_compatible_server_as_they_came(
    call_id: str, canned: CannedServer, redis_url: str
) -> None:
    call = {"index": 0, "id": call_id, "function": {"name": "look", "arguments": "{}"}}
    canned.add(openai_chunk({"tool_calls": [call]}), openai_chunk({}, "tool_calls"))
    canned.add(*said("openai", "A cat."))
    canned.add(*said("openai", "Yes."))
    hold(name("openai", canned), redis_url)
    _, reply, result = canned.bodies[1]["messages"][:3]
    assert reply["tool_calls"][0]["id"] == result["tool_call_id"] == call_id


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_image_goes_through_the_store_and_the_sdk_to_the_model(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    image = {"type": "image", "mime_type": "image/png", "data": "iVBORw0K"}
    canned.add(*said(provider, "A dot."))
    config = AgentConfig(model=name(provider, canned))
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        message = Message("user", [{"type": "text", "text": "What is this?"}, image])
        assert manager.chat(session_id, message) == "A dot."
        assert manager.get_history(session_id)[0]["content"] == message.content
    sent = str(canned.bodies[0])
    assert "What is this?" in sent
    assert "iVBORw0K" in sent
    assert "image/png" in sent
