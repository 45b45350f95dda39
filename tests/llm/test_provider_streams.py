"""The SDKs against prepared streams: what comes beside text, and what becomes of a client."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
from canned_server import CannedServer

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager, ToolRegistry
from miniagent_redis.errors import ModelError
from miniagent_redis.llm import (
    Block,
    Finish,
    ModelRequest,
    TextDelta,
    Usage,
    ask,
    fold,
    resolve_model,
)
from miniagent_redis.models import Message

HI = ModelRequest((Message("user", "Hi"),), timeout=10)
PROVIDERS = ["openai", "anthropic", "gemini"]


def name(provider: str, server: CannedServer) -> str:
    return f"{provider}:some-model@{server.url}"


def openai_chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def anthropic_block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> list[Any]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def anthropic_reply(*blocks: list[Any], stop: str = "end_turn") -> list[Any]:
    usage = {"input_tokens": 10, "output_tokens": 1}
    usage |= {"cache_creation_input_tokens": 3, "cache_read_input_tokens": 5}
    start = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": usage}
    return [
        {"type": "message_start", "message": start},
        {"type": "ping"},
        *(event for block in blocks for event in block),
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def gemini_chunk(*parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    chunk: dict[str, Any] = {"candidates": [candidate]}
    if finish:
        candidate["finishReason"] = finish
        chunk["usageMetadata"] = {
            "promptTokenCount": 18,
            "cachedContentTokenCount": 5,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 3,
        }
    return chunk


def said(provider: str, text: str) -> list[Any]:
    """Return the events of a reply that is only text."""
    if provider == "openai":
        usage = {
            "prompt_tokens": 18,
            "completion_tokens": 7,
            "total_tokens": 25,
            "prompt_tokens_details": {"cached_tokens": 5},
        }
        return [
            openai_chunk({"role": "assistant", "content": text}),
            openai_chunk({}, "stop"),
            {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage},
            "[DONE]",
        ]
    if provider == "anthropic":
        delta = {"type": "text_delta", "text": text}
        return anthropic_reply(anthropic_block(0, {"type": "text", "text": ""}, delta))
    return [gemini_chunk({"text": text}, finish="STOP")]


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


@pytest.mark.parametrize("provider", PROVIDERS)
def test_usage_is_counted_in_the_same_way(provider: str, canned: CannedServer) -> None:
    canned.add(*said(provider, "Hello"))
    reply = fold(resolve_model(name(provider, canned)).stream(HI))
    assert reply.text == "Hello"
    assert reply.usage == Usage(18, 7, 5)
    assert reply.blocks == ()


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


def test_a_blocked_prompt_is_told_with_the_vendors_reason(canned: CannedServer) -> None:
    canned.add({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    reply = fold(resolve_model(name("gemini", canned)).stream(HI))
    assert (reply.text, reply.finish_reason) == ("", "PROHIBITED_CONTENT")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_closing_the_stream_ends_the_request(provider: str, canned: CannedServer) -> None:
    events = said(provider, "word ")
    canned.is_endless = True
    canned.add(*(events[:1] if provider != "anthropic" else events[:4]))
    stream = ask(resolve_model(name(provider, canned)), HI)
    assert next(stream) == TextDelta("word ")
    stream.close()
    assert canned.was_left.wait(20)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_a_server_repeats_is_in_no_message(
    provider: str, canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"key-of-{provider}"
    error = {"error": {"message": f"Wrong key: {key}", "code": 401}, "type": "error"}
    canned.add(error, status=401)
    with pytest.raises(ModelError, match=r"refused the key.*401: Wrong key: \*\*\*") as caught:
        fold(resolve_model(name(provider, canned)).stream(HI))
    assert caught.value.__cause__ is None
    assert any(key in value for value in canned.headers[0].values())  # it was sent, after all


@pytest.mark.parametrize("key", [None, "", " \n"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_missing_key_is_told_by_its_variable(
    provider: str, key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")  # where some keep their login
    if key is None:
        monkeypatch.delenv(f"{provider.upper()}_API_KEY")
    else:
        monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)
    with pytest.raises(ModelError, match=f"needs a key.*{provider.upper()}_API_KEY"):
        fold(resolve_model(f"{provider}:some-model").stream(HI))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_server_of_ones_own_needs_no_key(
    provider: str, canned: CannedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{provider.upper()}_API_KEY")
    canned.add(*said(provider, "Hello"))
    assert fold(resolve_model(name(provider, canned)).stream(HI)).text == "Hello"


def test_a_wait_that_google_asks_for_is_told(canned: CannedServer) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "21s"}
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [info]}
    canned.add({"error": error}, status=429)
    with pytest.raises(ModelError, match="again in 21 s") as caught:
        fold(resolve_model(name("gemini", canned)).stream(HI))
    assert caught.value.retry_after == 21


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nobody_there_is_told_as_a_failed_connection(provider: str) -> None:
    model = resolve_model(f"{provider}:some-model@http://127.0.0.1:9/v1")
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"the connection to .* failed"):
        fold(model.stream(HI))
    assert time.monotonic() - started < 60


FORK = """
import os, sys
from miniagent_redis.llm import ModelRequest, fold, resolve_model
from miniagent_redis.models import Message
model = resolve_model(sys.argv[1])
def ask():
    return fold(model.stream(ModelRequest((Message("user", "Hi"),), timeout=10))).text == "Hello"
assert ask()
pid = os.fork()
if pid == 0:
    os._exit(0 if ask() and ask() else 1)
assert ask()
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_forked_child_connects_anew(provider: str, canned: CannedServer) -> None:
    for _ in range(4):
        canned.add(*said(provider, "Hello"))
    program = [sys.executable, "-W", "ignore", "-c", FORK, name(provider, canned)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def test_options_are_sent_with_each_request(canned: CannedServer) -> None:
    from miniagent_redis.llm.anthropic import AnthropicModel

    thinking = {"type": "enabled", "budget_tokens": 1024}
    model = AnthropicModel("m", base_url=canned.url, api_key="k", thinking=thinking)
    canned.add(*said("anthropic", "Hello"))
    events = list(model.stream(HI))
    assert events[-1] == Finish("stop")
    assert not any(isinstance(event, Block) for event in events)
    assert canned.bodies[0]["thinking"] == thinking
    with pytest.raises(ModelError, match="cannot be asked like this"):
        fold(AnthropicModel("m", base_url=canned.url, nonsense=1).stream(HI))
