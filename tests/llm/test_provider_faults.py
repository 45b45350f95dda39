"""What vendors and their imitators send beside good answers, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import IncompleteResponse, ModelError
from miniagent_redis.llm import Reply, ask, fold, resolve_model
from miniagent_redis.models import Message, ToolCall
from tests.support.canned_server import CannedServer, encode
from tests.support.provider_replies import (
    HI,
    PROVIDERS,
    anthropic_block,
    anthropic_reply,
    begun,
    gemini_chunk,
    name,
    openai_chunk,
    said,
)

STOPPED = {"openai": "content_filter", "anthropic": "refusal", "gemini": "SAFETY"}
CUT = {"openai": "length", "anthropic": "max_tokens", "gemini": "MAX_TOKENS"}


def reply(provider: str, server: CannedServer) -> Reply:
    return fold(resolve_model(name(provider, server)).stream(HI))


def chat(model: str, redis_url: str, *texts: str) -> list[dict[str, Any]]:
    """Hold a session of these messages and return its history."""
    config = AgentConfig(model=model)
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        for text in texts:
            manager.chat(session_id, text)
        return manager.get_history(session_id)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_text_that_utf8_cannot_hold_is_sent_all_the_same(
    provider: str, canned: CannedServer
) -> None:
    half = "a\ud800b"
    call = ToolCall(half, "look", {half: [half]})
    messages = (
        Message("user", half),
        Message("assistant", half, tool_calls=(call,)),
        Message("tool", half, tool_call_id=half, name="look"),
    )
    canned.add(*said(provider, "Hello"))
    model = resolve_model(name(provider, canned))
    assert fold(model.stream(evolve(HI, messages=messages, system=half))).text == "Hello"
    sent = str(canned.bodies[0])
    assert "\ud800" not in sent
    assert sent.count("a\ufffdb") >= 6


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_character_that_came_in_halves_is_stored_and_sent_back_whole(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    canned.add(*said(provider, "Ha \ud83d", "\ude00!"))
    canned.add(*said(provider, "Sure."))
    history = chat(name(provider, canned), redis_url, "Joke!", "Sure?")
    assert history[1]["content"] == "Ha \U0001f600!"
    assert "Ha \U0001f600!" in str(canned.bodies[1])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_that_comes_byte_by_byte_is_read(provider: str, canned: CannedServer) -> None:
    text = "Grüße, 世界 \U0001f600 \u202eabc\x00\u2028"
    events = said(provider, text)
    raw = b"".join(map(encode, events)).replace(b"\\u4e16", "世".encode())
    canned.add(*(bytes([byte]) for byte in raw))
    assert reply(provider, canned).text == text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_very_long_answer_comes_whole(provider: str, canned: CannedServer) -> None:
    pieces = [f"{number} " for number in range(5_000)]
    canned.add(b"".join(map(encode, said(provider, *pieces))))
    assert reply(provider, canned).text == "".join(pieces)


def call_piece(arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    return openai_chunk({"tool_calls": [{"type": "function", "function": function, **more}]})


@pytest.mark.parametrize(
    "places", [[{"index": 0, "id": "a"}, {"index": 0, "id": "b"}], [{"index": 0}] * 2, [{}] * 2]
)
def test_parallel_calls_of_servers_that_do_not_count_are_told_apart(
    places: list[dict[str, Any]], canned: CannedServer
) -> None:
    first, second = places
    canned.add(call_piece('{"at": 1}', **first), call_piece('{"at": 2}', **second))
    canned.replies[0][1].append(openai_chunk({}, "stop"))
    found = reply("openai", canned)
    assert [call.arguments for call in found.tool_calls] == [{"at": 1}, {"at": 2}]
    assert len({call.id for call in found.tool_calls}) == 2
    assert found.finish_reason == "tool_calls"


def test_a_server_that_repeats_id_and_name_in_each_piece_means_one_call(
    canned: CannedServer,
) -> None:
    place = {"index": 0, "id": "a"}
    canned.add(call_piece('{"at"', **place), call_piece(": 1}", **place), openai_chunk({}, "stop"))
    assert reply("openai", canned).tool_calls == (ToolCall("a", "look", {"at": 1}),)


ERRORS = {
    "openai": {"error": {"message": "Overloaded", "type": "server_error"}},
    "anthropic": {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
    },
    "gemini": {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}},
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_error_within_the_stream_is_the_vendors_failure(
    provider: str, canned: CannedServer
) -> None:
    canned.add(ERRORS[provider])
    canned.add(*begun(provider, "Hello"), ERRORS[provider])
    with pytest.raises(ModelError, match=r"failed\. 50.: Overloaded"):
        reply(provider, canned)
    with pytest.raises(IncompleteResponse, match=r"broke off.*failed: 50.: Overloaded") as caught:
        reply(provider, canned)
    assert caught.value.text == "Hello"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_address_where_no_model_is_answers_nothing(provider: str, canned: CannedServer) -> None:
    canned.add(b"")
    with pytest.raises(ModelError, match=r"sent no answer\. check the address"):
        reply(provider, canned)
    canned.add(b"<html>Welcome!</html>")
    with pytest.raises(ModelError, match=r"Welcome!"):
        reply(provider, canned)


def test_a_wait_that_google_asks_for_is_told(canned: CannedServer) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "21s"}
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [info]}
    canned.add({"error": error}, status=429)
    with pytest.raises(ModelError, match="again in 21 s") as caught:
        fold(resolve_model(name("gemini", canned)).stream(HI))
    assert caught.value.retry_after == 21


def anthropic_call(block: dict[str, Any]) -> list[Any]:
    return anthropic_reply(anthropic_block(0, {"type": "tool_use", "input": {}, **block}))


@pytest.mark.parametrize(
    ("provider", "events"),
    [
        ("openai", [openai_chunk({}), {"choices": 5}]),
        ("openai", ["{oops"]),
        ("openai", ["[5]"]),
        ("openai", [openai_chunk({"tool_calls": [5]})]),
        ("anthropic", anthropic_reply(anthropic_block(0, {}))),
        ("anthropic", anthropic_call({"id": "a"})),
        ("anthropic", anthropic_call({"id": "a", "name": None})),
        ("anthropic", [*begun("anthropic", "")[:3], {"type": "content_block_delta", "index": 7}]),
        ("gemini", ["{oops"]),
        ("gemini", [gemini_chunk(), {"candidates": 5}]),
        ("gemini", [gemini_chunk({"text": 5})]),
    ],
)
def test_nonsense_is_told_as_such(provider: str, events: list[Any], canned: CannedServer) -> None:
    canned.add(*events)
    with pytest.raises(ModelError, match="sent what cannot be read") as caught:
        list(ask(resolve_model(name(provider, canned)), HI))
    assert not isinstance(caught.value, IncompleteResponse)


@pytest.mark.parametrize("reasons", [STOPPED, CUT])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_why_an_answer_ended_early_is_stored_with_it(
    reasons: dict[str, str], provider: str, canned: CannedServer, redis_url: str
) -> None:
    canned.add(*said(provider, "As I said", finish=reasons[provider]))
    answer = chat(name(provider, canned), redis_url, "Tell me more")[1]
    assert answer["content"] == "As I said"
    expected = "length" if reasons is CUT else "content_filter"
    assert answer["metadata"]["finish_reason"] == expected
    if reasons is STOPPED and provider != "openai":
        assert answer["metadata"]["finish_detail"] == reasons[provider]


@pytest.mark.parametrize("reasons", [STOPPED, CUT])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_empty_answer_is_an_error_with_the_vendors_reason(
    reasons: dict[str, str], provider: str, canned: CannedServer, redis_url: str
) -> None:
    canned.add(*said(provider, finish=reasons[provider]))
    reason = "length" if reasons is CUT else reasons[provider]
    with pytest.raises(ModelError, match=f"empty answer.*{reason}"):
        chat(name(provider, canned), redis_url, "Tell me more")


def test_a_prompt_that_google_blocks_is_an_error_with_its_reason(
    canned: CannedServer, redis_url: str
) -> None:
    canned.add({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    with pytest.raises(ModelError, match=r"empty answer.*PROHIBITED_CONTENT"):
        chat(name("gemini", canned), redis_url, "Tell me more")


def test_a_refusal_of_openai_is_its_answer(canned: CannedServer) -> None:
    canned.add(openai_chunk({"refusal": "I will "}), openai_chunk({"refusal": "not."}, "stop"))
    assert reply("openai", canned).text == "I will not."


ARGUMENTS: dict[str, Callable[[str], list[Any]]] = {
    "openai": lambda text: [call_piece(text, index=0, id="a"), openai_chunk({}, "length")],
    "anthropic": lambda text: anthropic_reply(
        anthropic_block(
            0,
            {"type": "tool_use", "id": "a", "name": "look", "input": {}},
            {"type": "input_json_delta", "partial_json": text},
        ),
        stop="max_tokens",
    ),
}


@pytest.mark.parametrize("text", ['{"at": "the', "[1]", '{"at": NaN}', "[" * 100_000, '"text"'])
@pytest.mark.parametrize("provider", ARGUMENTS)
def test_arguments_that_are_no_object_are_told_to_the_model(
    provider: str, text: str, canned: CannedServer, redis_url: str
) -> None:
    canned.add(*ARGUMENTS[provider](text))
    canned.add(*said(provider, "I meant this."))
    _, call, result, answer = chat(name(provider, canned), redis_url, "Look!")
    assert call["tool_calls"] == [{"id": "a", "name": "look", "arguments": {}}]
    assert result["content"].startswith("not run: your answer was cut off")
    assert f"you sent: {text[:20]}" in result["content"]
    assert result["metadata"] == {"is_error": True, "not_run": True}
    assert answer["content"] == "I meant this."
    assert "not run: your answer" in str(canned.bodies[1])


@pytest.mark.parametrize(
    "given", [{"at": 2}, '{"at": 2}', '"{\\"at\\": 2}"', '{"at": "a\nb"}', None, "null"]
)
def test_arguments_are_an_object_in_whichever_way_they_are_written(
    given: Any, canned: CannedServer
) -> None:
    canned.add(call_piece(given, index=0, id="a"), openai_chunk({}, "tool_calls"))
    (call,) = reply("openai", canned).tool_calls
    expected: dict[str, Any] = {} if given in (None, "null") else {"at": 2}
    assert call.arguments == ({"at": "a\nb"} if "\n" in str(given) else expected)


MALFORMED = "Malformed function call: print(default_api.look())"


def malformed(provider: str) -> list[Any]:
    if provider == "openai":  # Google's chat completions
        return [openai_chunk({}, "function_call_filter: MALFORMED_FUNCTION_CALL"), "[DONE]"]
    end = {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": MALFORMED}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2}
    return [{"candidates": [end], "usageMetadata": usage}]


@pytest.mark.parametrize("provider", ["gemini", "openai"])
def test_a_call_that_google_could_not_read_is_asked_for_again(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    canned.add(*malformed(provider))
    canned.add(*said(provider, "Noon."))
    history = chat(name(provider, canned), redis_url, "Time?")
    assert [message["content"] for message in history] == ["Time?", "Noon."], "and no note"
    assert "MALFORMED_FUNCTION_CALL" in str(canned.bodies[1])
    assert "Call the tool again" in str(canned.bodies[1])
    paid = history[1]["metadata"]["usage"]["input_tokens"]
    assert paid == (28 if provider == "gemini" else 18), "the first reply was paid for too"


def test_a_call_that_google_never_can_read_is_an_error_with_its_reason(
    canned: CannedServer, redis_url: str
) -> None:
    for _ in range(3):
        canned.add(*malformed("gemini"))
    with pytest.raises(ModelError, match=r"3 times in a row.*MALFORMED_FUNCTION_CALL") as caught:
        chat(name("gemini", canned), redis_url, "Time?")
    assert caught.value.tokens[:2] == (30, 6)
    assert caught.value.steps == ()
