"""Servers that speak like OpenAI, each in a way of its own: no answer is lost for that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from miniagent_redis import AgentConfig, Message, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import IncompleteResponse, ModelError
from miniagent_redis.llm import ModelRequest, ReasoningDelta, Reply, TextDelta, ask, fold
from miniagent_redis.llm.openai import OpenAIModel
from miniagent_redis.models import ToolCall, Usage
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, openai_chunk

DONE = "[DONE]"


def answer(canned: CannedServer, *events: Any, **options: Any) -> Reply:
    canned.add(*events)
    return fold(OpenAIModel("m", base_url=canned.url, **options).stream(HI))


def piece(arguments: Any = None, name: str | None = None, **place: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    function = {key: value for key, value in function.items() if value is not None}
    return openai_chunk({"tool_calls": [{**place, **({"function": function} if function else {})}]})


BEGIN = {"id": "a", "type": "function"}
WAYS = {
    "no index": [piece("", "add", **BEGIN), piece('{"a": 2,'), piece(' "b": 3}')],
    "null for it": [piece("", "add", index=None, **BEGIN), piece('{"a": 2, "b": 3}', index=None)],
    "only the id again": [piece('{"a": 2,', "add", id="a"), piece(' "b": 3}', id="a")],
    "an empty id": [piece('{"a": 2,', "add", index=0, id="a"), piece('"b": 3}', index=0, id="")],
    "name and id again": [piece('{"a": 2,', "add", id="a"), piece(' "b": 3}', "add", id="a")],
    "the name again": [piece('{"a": 2,', "add"), piece(' "b": 3}', "add")],
    "an id for each": [piece('{"a":2,', "add", index=0, id="a"), piece('"b":3}', index=0, id="b")],
    "an index that counts": [piece('{"a":2,', "add", index=0, id="a"), piece('"b":3}', index=1)],
    "the id before the name": [piece(id="a"), piece('{"a": 2, "b": 3}', "add")],
    "an object": [piece({"a": 2, "b": 3}, "add", **BEGIN)],
    "a function_call": [openai_chunk({"function_call": {"name": "add", "arguments": '{"a":2,'}}),
                        openai_chunk({"function_call": {"arguments": '"b":3}'}})],
    "a number for an id": [piece('{"a": 2, "b": 3}', "add", id=5)],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_pieces_of_a_call_are_put_together(way: str, canned: CannedServer) -> None:
    (call,) = answer(canned, *WAYS[way], openai_chunk({}, "tool_calls"), DONE).tool_calls
    assert (call.name, call.arguments) == ("add", {"a": 2, "b": 3})


def test_two_calls_whose_pieces_have_no_index_are_two(canned: CannedServer) -> None:
    events = [piece('{"a":', "add", id="a"), piece(" 1}"), piece('{"a":', "add", id="b")]
    calls = answer(canned, *events, piece(" 2}"), openai_chunk({}, "stop"), DONE).tool_calls
    assert [call.arguments for call in calls] == [{"a": 1}, {"a": 2}]


USAGES: dict[str, tuple[Any, Usage]] = {
    "only the total": ({"total_tokens": 7}, Usage()),
    "half of it": ({"prompt_tokens": 5}, Usage(5)),
    "null": ({"prompt_tokens": None, "completion_tokens": None}, Usage()),
    "text": ({"prompt_tokens": "5", "completion_tokens": "many"}, Usage(5)),
    "fractions": ({"prompt_tokens": 5.0, "completion_tokens": 2.5}, Usage(5, 2)),
    "other names": ({"input_tokens": 5, "output_tokens": 2}, Usage(5, 2)),
    "no object": ([5, 2], Usage()),
    "null within": ({"prompt_tokens": 5, "prompt_tokens_details": None}, Usage(5)),
    "DeepSeek's": ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(5, cached_tokens=4)),
}


@pytest.mark.parametrize("way", USAGES)
def test_usage_costs_no_answer(way: str, canned: CannedServer) -> None:
    told, expected = USAGES[way]
    events = [openai_chunk({"content": "Hi"}, "stop"), {"choices": [], "usage": told}, DONE]
    reply = answer(canned, *events)
    assert (reply.text, reply.usage) == ("Hi", expected)


def test_running_totals_are_not_added_up(canned: CannedServer) -> None:
    totals = [{"prompt_tokens": 5, "completion_tokens": n} for n in (1, 2, 3)]
    events = [openai_chunk({"content": "a"}, usage=total) for total in totals]
    assert answer(canned, *events, openai_chunk({}, "stop"), DONE).usage == Usage(5, 3)


def test_usage_within_a_choice_is_found(canned: CannedServer) -> None:
    chunk = openai_chunk({"content": "a"}, "stop")
    chunk["choices"][0]["usage"] = {"prompt_tokens": 5, "completion_tokens": 1}
    assert answer(canned, chunk, DONE).usage == Usage(5, 1)


@pytest.mark.parametrize("finish", [None, ""])
def test_an_answer_that_done_has_ended_is_whole(finish: Any, canned: CannedServer) -> None:
    reply = answer(canned, openai_chunk({"content": "Hello"}, finish), DONE)
    assert (reply.text, reply.finish_reason) == ("Hello", "stop")


def test_an_answer_without_any_end_broke_off(canned: CannedServer) -> None:
    with pytest.raises(IncompleteResponse):
        answer(canned, openai_chunk({"content": "Hello"}))


@pytest.mark.parametrize("word", ["eos_token", "STOP", "completed"])
def test_other_words_for_the_end_are_known(word: str, canned: CannedServer) -> None:
    assert answer(canned, openai_chunk({"content": "Hello"}, word)).finish_reason == "stop"


def test_a_server_that_ends_with_an_error_has_failed(canned: CannedServer) -> None:
    with pytest.raises(IncompleteResponse, match="broke off"):
        answer(canned, openai_chunk({"content": "Hel"}), openai_chunk({}, "error"), DONE)


def test_mistrals_thinking_is_kept_aside_and_goes_back_to_it(
    canned: CannedServer, redis_url: str
) -> None:
    def thought(text: str) -> dict[str, Any]:
        inner = [{"type": "text", "text": text}]
        return openai_chunk({"content": [{"type": "thinking", "thinking": inner}]})

    text = openai_chunk({"content": [{"type": "text", "text": "Hel"}]})
    canned.add(thought("A greeting"), thought("."), text, openai_chunk({"content": "lo"}, "stop"))
    canned.add(openai_chunk({"content": "Bye"}, "stop"), DONE)
    config = AgentConfig(model=OpenAIModel("magistral", base_url=canned.url))
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        assert manager.chat(session_id, "Hi") == "Hello"
        manager.chat(session_id, "Bye")
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "A greeting."}]}
    sent = canned.bodies[1]["messages"][1]["content"]
    assert sent == [thinking, {"type": "text", "text": "Hello"}]


TAGGED = {
    "in one piece": ["<think>Hm.</think>\n\nHello!"],
    "in pieces": ["<think>", "Hm.", "</think>", "\n", "\nHello!"],
    "cut in the tags": ["\n<th", "ink>Hm", ".</", "think", ">\n\nHel", "lo!"],
    "byte by byte": list("<think>Hm.</think>\n\nHello!"),
    "Magistral's": ["[THINK]Hm.[/THINK]Hello!"],
}


@pytest.mark.parametrize("way", TAGGED)
def test_what_stands_between_think_tags_is_reasoning(way: str, canned: CannedServer) -> None:
    chunks = [openai_chunk({"content": text}) for text in TAGGED[way]]
    canned.add(*chunks, openai_chunk({}, "stop"), DONE)
    events = list(ask(OpenAIModel("m", base_url=canned.url), HI))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Hello!"
    assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)).strip() == "Hm."


@pytest.mark.parametrize("text", ["<thin", "<b>x</b>", "So <think>a</think> is a tag", " [T", "<"])
def test_text_that_only_looks_so_stays(text: str, canned: CannedServer) -> None:
    chunks = [openai_chunk({"content": letter}) for letter in text]
    assert answer(canned, *chunks, openai_chunk({}, "stop")).text == text


def test_reasoning_that_nobody_closed_is_the_answer(canned: CannedServer) -> None:
    assert (
        answer(canned, openai_chunk({"content": "<think>42"}), openai_chunk({}, "stop")).text
        == "42"
    )


def test_think_tags_can_be_left_as_they_are(canned: CannedServer) -> None:
    text = "<think>Hm.</think>Hello!"
    assert answer(canned, openai_chunk({"content": text}, "stop"), think_tags=False).text == text


def sent(canned: CannedServer, *messages: Message, system: str | None = None) -> list[Any]:
    canned.add(openai_chunk({"content": "Hi"}, "stop"), DONE)
    request = ModelRequest(messages, system=system, timeout=10)
    fold(OpenAIModel("m", base_url=canned.url).stream(request))
    return [(each["role"], each["content"]) for each in canned.bodies[-1]["messages"]]


def test_neighbours_of_one_role_are_joined(canned: CannedServer) -> None:
    messages = [Message("user", "a"), Message("user", "b"), Message("assistant", "c")]
    roles = sent(canned, *messages, Message("assistant", "d"), Message("user", "e"))
    assert roles == [("user", "a\n\nb"), ("assistant", "c\n\nd"), ("user", "e")]


def test_there_is_one_system_message_at_the_beginning(canned: CannedServer) -> None:
    messages = [Message("user", "a"), Message("system", "It rains."), Message("user", "b")]
    roles = sent(canned, *messages, system="Be brief.")
    assert roles == [("system", "Be brief.\n\nIt rains."), ("user", "a\n\nb")]


def test_an_answer_stands_between_results_and_the_next_message(canned: CannedServer) -> None:
    call = Message("assistant", "", tool_calls=(ToolCall("c", "look"),))
    result = Message("tool", "a cat", tool_call_id="c", name="look")
    roles = sent(canned, Message("user", "a"), call, result, Message("user", "b"))
    assert [role for role, _ in roles] == ["user", "assistant", "tool", "assistant", "user"]


ERRORS = {
    "LM Studio's": json.dumps({"error": "Unexpected endpoint or method. (POST /x)"}),
    "a whole one": json.dumps({"error": {"message": "no such model: m", "code": None}}),
    "vLLM's": json.dumps({"object": "error", "message": "The model m does not exist"}),
    "FastAPI's": json.dumps({"detail": "Not here"}),
}


@pytest.mark.parametrize("way", ERRORS)
def test_an_error_with_status_200_is_told_in_the_servers_words(
    way: str, canned: CannedServer
) -> None:
    canned.kind = "application/json"
    told = json.loads(ERRORS[way])
    words = told.get("detail") or told.get("message") or told["error"]
    words = words if isinstance(words, str) else words["message"]
    with pytest.raises(ModelError) as caught:
        answer(canned, ERRORS[way].encode())
    assert words in caught.value.cause


@pytest.mark.parametrize(
    "event",
    [
        {"error": "out of memory"},
        {"error": {"message": "out of memory", "code": 500}},
        {"object": "error", "message": "out of memory"},
        b'event: error\ndata: {"message": "out of memory"}\n\n',
        b'error: {"code": 500, "message": "out of memory"}\n\n',
    ],
)
def test_an_error_within_a_stream_is_told_in_the_servers_words(
    event: Any, canned: CannedServer
) -> None:
    with pytest.raises(ModelError, match="out of memory"):
        answer(canned, event)
    with pytest.raises(IncompleteResponse, match="out of memory"):
        answer(canned, openai_chunk({"content": "Hel"}), event)


def test_an_answer_in_one_piece_is_taken_too(canned: CannedServer) -> None:
    canned.kind = "application/json"
    choice = {"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    reply = answer(canned, json.dumps({"choices": [choice], "usage": usage}).encode())
    assert (reply.text, reply.usage) == ("Hello", Usage(3, 1))


@pytest.mark.parametrize("text", ["Hm.</think>\n\nHello!", "Hello!"])
def test_the_opening_tag_may_be_in_the_servers_template(text: str, canned: CannedServer) -> None:
    chunks = [openai_chunk({"content": letter}) for letter in text]
    reply = answer(canned, *chunks, openai_chunk({}, "stop"), think_tags="open")
    assert reply.text == "Hello!", "also if the model did not deliberate"
