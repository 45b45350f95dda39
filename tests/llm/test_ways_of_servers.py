"""More ways in which servers differ from whom they imitate: each costs no answer, and no word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from miniagent_redis import AgentConfig, Message, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import ModelError
from miniagent_redis.llm import ModelRequest, ReasoningDelta, Reply, TextDelta, ask, fold
from miniagent_redis.llm.anthropic import AnthropicModel
from miniagent_redis.llm.gemini import GeminiModel
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.models import Usage
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import (
    HI,
    anthropic_block,
    anthropic_reply,
    openai_chunk,
    said,
)

DONE = "[DONE]"


def answer(canned: CannedServer, *events: Any, api: Any = "chat") -> Reply:
    canned.add(*events)
    return fold(OpenAIModel("m", base_url=canned.url, api=api).stream(HI))


def by_anthropic(canned: CannedServer, *events: Any) -> Reply:
    canned.add(*events)
    return fold(AnthropicModel("m", base_url=canned.url).stream(HI))


def piece(arguments: str, name: str | None = None, **place: Any) -> dict[str, Any]:
    call = {"index": 0, "id": "a", "function": {"name": name, "arguments": arguments}, **place}
    return openai_chunk({"tool_calls": [call]})


@pytest.mark.parametrize(
    "pieces",
    [
        [piece("{}", "add"), piece('{"a": 2,'), piece('"b": 3}')],
        [piece('{"a": 2,', "add"), piece('"b": 3}'), piece('{"a": 2, "b": 3}', "add")],
        [piece('{"a": 2, "b": 3}', "add"), piece("{}")],
        [openai_chunk({"tool_calls": {"name": "add", "arguments": '{"a": 2, "b": 3}'}})],
    ],
    ids=["an empty object first", "all once more in the end", "an empty one last", "a flat call"],
)
def test_arguments_that_begin_anew_take_the_place_of_those_before(
    pieces: list[Any], canned: CannedServer
) -> None:
    (call,) = answer(canned, *pieces, openai_chunk({}, "tool_calls"), DONE).tool_calls
    assert call.arguments == {"a": 2, "b": 3}


def test_calls_of_the_same_id_differ_by_their_names(canned: CannedServer) -> None:
    pieces = [piece('{"a": 2}', name, index=None) for name in ("add", "double")]
    found = answer(canned, *pieces, DONE).tool_calls
    assert [(call.name, call.arguments) for call in found] == [
        ("add", {"a": 2}),
        ("double", {"a": 2}),
    ]
    assert found[0].id != found[1].id


TEXT = anthropic_block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})


def test_one_of_two_signs_that_an_answer_is_over_is_enough(canned: CannedServer) -> None:
    whole = anthropic_reply(TEXT)
    assert by_anthropic(canned, *whole[:-1]).text == "Hello", "with a reason and no end"
    reasonless = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": None}
    found = by_anthropic(canned, *whole[:-2], reasonless, whole[-1])
    assert (found.text, found.finish_reason) == ("Hello", "stop")
    with pytest.raises(ModelError, match="broke off"):
        by_anthropic(canned, *whole[:-2])


def test_blocks_may_have_no_number_no_beginning_and_no_end(canned: CannedServer) -> None:
    def without(*kinds: str) -> list[Any]:
        events = [event for event in anthropic_reply(TEXT) if event["type"] not in kinds]
        return [{key: event[key] for key in event if key != "index"} for event in events]

    nothing = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": None}}
    for left_out in ("message_start", "content_block_start", "content_block_stop"):
        assert by_anthropic(canned, *without(left_out)).text == "Hello"
    assert (
        by_anthropic(
            canned, {"type": "message_start", "message": None}, TEXT[0], nothing, *TEXT[1:], DONE
        ).text
        == "Hello"
    )
    call = anthropic_block(0, {"type": "tool_use", "name": "look", "input": {}})
    (found,) = by_anthropic(canned, *anthropic_reply(call)).tool_calls
    assert found.id


def test_items_of_a_response_may_have_no_number_and_say_nothing(canned: CannedServer) -> None:
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    events = [
        {"type": "response.output_text.delta", "delta": None},
        {"type": "response.output_text.delta", "delta": "Hello"},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"status": "completed", "output": [item]}},
    ]
    assert answer(canned, *events, api="responses").text == "Hello"
    nothing = {"type": "response.output_item.done", "item": None}
    assert answer(canned, nothing, *events, api="responses").text == "Hello"


def test_contents_may_be_text_where_a_list_is_meant(canned: CannedServer) -> None:
    canned.kind = "application/json"
    whole = {"type": "message", "content": "Hello", "stop_reason": "end_turn"}
    assert by_anthropic(canned, json.dumps(whole).encode()).text == "Hello"
    item = {"type": "message", "content": "Hello"}
    response = {"object": "response", "status": "completed", "output": [item]}
    assert answer(canned, json.dumps(response).encode(), api="responses").text == "Hello"


@pytest.mark.parametrize("is_told", [True, False])
def test_a_response_may_end_without_saying_so(is_told: bool, canned: CannedServer) -> None:
    place = {"output_index": 0}
    delta = {"type": "response.output_text.delta", "delta": "Hello", **place}
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    done = {"type": "response.output_item.done", "item": item, **place}
    found = answer(canned, delta, *([done] if is_told else []), DONE, api="responses")
    assert (found.text, found.finish_reason, len(found.blocks)) == ("Hello", "stop", 0)
    with pytest.raises(ModelError, match="broke off"):
        answer(canned, delta, api="responses")


def test_a_call_without_arguments_may_not_name_them(canned: CannedServer) -> None:
    call = {"type": "function_call", "call_id": "a", "name": "look"}
    done = {"type": "response.output_item.done", "item": call, "output_index": 0}
    (found,) = answer(canned, done, DONE, api="responses").tool_calls
    assert (found.name, found.arguments) == ("look", {})


ERRORS = {
    "Zhipu's": {"code": 1301, "msg": "no such key", "success": False},
    "MiniMax's": {"base_resp": {"status_code": 1004, "status_msg": "no such key"}, "choices": None},
    "Baidu's": {"error_code": 110, "error_msg": "no such key"},
    "Tencent's": {"Response": {"Error": {"Code": "AuthFailure", "Message": "no such key"}}},
    "a list": {"errors": [{"message": "no such key"}], "success": False},
    "a reason": {"status": "error", "reason": "no such key"},
    "anything": {"oops": "no such key"},
}


@pytest.mark.parametrize("way", ERRORS)
def test_what_is_no_answer_is_told_in_the_servers_words(way: str, canned: CannedServer) -> None:
    canned.kind = "application/json"
    with pytest.raises(ModelError, match="no such key"):
        answer(canned, json.dumps(ERRORS[way]).encode())


def test_an_error_beside_choices_is_told_in_a_stream_too(canned: CannedServer) -> None:
    fine = {"base_resp": {"status_code": 0, "status_msg": ""}}
    assert answer(canned, openai_chunk({"content": "Hello"}, "stop") | fine).text == "Hello"
    with pytest.raises(ModelError, match="no such key"):
        answer(canned, ERRORS["MiniMax's"])


UNREAD: dict[str, tuple[int, dict[str, Any]]] = {
    "Groq's": (400, {"message": "Failed to call a function.", "code": "tool_use_failed"}),
    "Ollama's": (500, {"message": "error parsing tool call: raw='{a', err=…"}),
    "llama.cpp's": (200, {"message": "Failed to parse input at pos 3: <tool_call>{", "code": 500}),
}


@pytest.mark.parametrize("way", UNREAD)
def test_a_call_that_the_server_could_not_read_is_asked_for_again(
    way: str, canned: CannedServer, redis_url: str
) -> None:
    status, error = UNREAD[way]
    canned.add({"error": error}, status=status, told={"x-should-retry": "false"})
    canned.add(*said("openai", "Noon."))
    config = AgentConfig(model=OpenAIModel("m", base_url=canned.url))
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        assert manager.chat(session_id, "Time?") == "Noon."
        told = [message["content"] for message in manager.get_history(session_id)]
    assert told == ["Time?", "Noon."], "and no note"
    assert error["message"][:20] in str(canned.bodies[1]["messages"][-1])
    assert len(canned.bodies) == 2


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s.", 20),
        ("Please try again in 352ms. Visit", 0.352),
        ("Please try again in 7m30.5s.", 450.5),
        ("Please try again in 1h2m3s.", 3723),
        ("Please retry after 12 seconds.", 12),
        ("Please try again in a while.", None),
        ("Slow down", None),
    ],
)
def test_a_wait_that_is_told_in_words_is_data(
    words: str, seconds: float | None, canned: CannedServer
) -> None:
    canned.add({"error": {"message": words}}, status=429, told={"x-should-retry": "false"})
    with pytest.raises(ModelError) as caught:
        fold(OpenAIModel("m", base_url=canned.url).stream(HI))
    assert caught.value.retry_after == seconds
    error = {"code": 429, "message": words, "status": "RESOURCE_EXHAUSTED"}
    canned.add({"error": error}, status=429)
    with pytest.raises(ModelError) as caught:
        fold(GeminiModel("m", base_url=canned.url).stream(HI))
    assert caught.value.retry_after == seconds


TAGGED = [
    "<seed:think>Hm.</seed:think>Hello!",
    "<|channel>thought\nHm.<channel|>Hello!",
    "<think>\n\n</think>\n<think>Hm.</think>\n\nHello!",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hello!",
]


@pytest.mark.parametrize("text", TAGGED)
def test_other_models_have_other_tags_around_what_they_think(
    text: str, canned: CannedServer
) -> None:
    canned.add(*(openai_chunk({"content": letter}) for letter in text), DONE)
    events = list(ask(OpenAIModel("m", base_url=canned.url), HI))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Hello!"
    assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)).strip() == "Hm."


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens_details": {"cached_tokens": 5, "cache_creation_input_tokens": 3}},
        {"cache_read_input_tokens": 5, "cache_creation_input_tokens": 3},
        {"prompt_tokens_details": {"cached_tokens": 5, "cache_creation_tokens": 3}},
    ],
)
def test_a_cache_is_counted_by_other_names_too(told: dict[str, Any], canned: CannedServer) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, **told}
    end = {"choices": [], "usage": usage}
    found = answer(canned, openai_chunk({"content": "Hi"}, "stop"), end, DONE).usage
    assert found == Usage(9, 2, cached_tokens=5, cache_write_tokens=3)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cGl4ZWw="}},
        {"type": "input_image", "image_url": "data:image/png;base64,cGl4ZWw="},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "cGl4ZWw="},
        },
    ],
)
def test_a_picture_may_be_given_as_a_vendor_writes_it(
    part: dict[str, Any], canned: CannedServer
) -> None:
    canned.add(*said("openai", "A pixel."))
    request = ModelRequest((Message("user", [{"type": "text", "text": "?"}, part]),), timeout=10)
    fold(OpenAIModel("m", base_url=canned.url).stream(request))
    url = {"url": "data:image/png;base64,cGl4ZWw="}
    sent = canned.bodies[0]["messages"][0]["content"]
    assert sent[1] == {"type": "image_url", "image_url": url}
