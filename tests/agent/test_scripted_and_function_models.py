"""Scripted models say what they were told to; plain functions are models too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis.errors import IncompleteResponse, InvalidInput, ModelError
from miniagent_redis.llm import (
    Finish,
    FunctionModel,
    ModelRequest,
    Reply,
    ScriptedModel,
    TextDelta,
    ToolCall,
    Usage,
    ask,
    fold,
)
from miniagent_redis.models import Message

HI = ModelRequest((Message("user", "Hi"),), system="Be kind")
CALL = ToolCall("1", "add", {"a": 1})


def test_a_script_is_followed_reply_by_reply() -> None:
    model = ScriptedModel(["Hello there", CALL, ["So: ", CALL, Usage(5, 6)], lambda r: "Bye"])
    replies = [fold(model.stream(HI)) for _ in range(4)]
    assert replies == [
        Reply("Hello there"),
        Reply("", (CALL,), finish_reason="tool_calls"),
        Reply("So: ", (CALL,), Usage(5, 6), "tool_calls"),
        Reply("Bye"),
    ]
    assert model.requests == [HI] * 4


def test_text_is_streamed_by_words_and_text_in_a_list_by_pieces() -> None:
    model = ScriptedModel(["one two", ["one two", " three"]])
    assert list(model.stream(HI)) == [TextDelta("one"), TextDelta(" two"), Finish()]
    assert list(model.stream(HI)) == [TextDelta("one two"), TextDelta(" three"), Finish()]


def test_a_script_may_answer_from_the_request() -> None:
    model = ScriptedModel([lambda request: request.messages[-1].text.upper()])
    assert fold(model.stream(HI)).text == "HI"


def test_a_script_may_raise_also_in_the_middle_of_an_answer() -> None:
    model = ScriptedModel([TimeoutError("slow"), ["Hel", TimeoutError("slow")]])
    with pytest.raises(ModelError, match="slow"):
        list(ask(model, HI))
    with pytest.raises(IncompleteResponse) as caught:
        list(ask(model, HI))
    assert caught.value.text == "Hel"


def test_a_script_may_name_its_finish() -> None:
    assert fold(ScriptedModel([["cut", Finish("length")]]).stream(HI)).finish_reason == "length"


def test_a_script_that_ran_out_says_so() -> None:
    model = ScriptedModel(["Hi"])
    fold(model.stream(HI))
    with pytest.raises(ModelError, match="run out: reply 2 was asked for"):
        fold(model.stream(HI))


def test_a_script_is_a_list() -> None:
    with pytest.raises(InvalidInput, match="give a list"):
        ScriptedModel("Hello")


def test_a_function_gets_plain_messages_and_gives_text() -> None:
    seen: list[dict[str, Any]] = []

    def echo(messages: list[dict[str, Any]]) -> str:
        seen.extend(messages)
        return "You said " + messages[-1]["content"]

    assert fold(FunctionModel(echo).stream(HI)) == Reply("You said Hi")
    assert seen == [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": "Hi"},
    ]


def test_a_function_is_spared_the_tool_calls_of_other_models() -> None:
    messages = (
        Message("user", "1+1?"),
        Message("assistant", tool_calls=(CALL,)),
        Message("tool", "2", tool_call_id="1"),
        Message("assistant", "2"),
    )
    model = FunctionModel(lambda plain: " ".join(message["role"] for message in plain))
    assert fold(model.stream(ModelRequest(messages))).text == "user assistant"


def test_a_function_that_yields_is_streamed() -> None:
    def count(messages: list[dict[str, Any]]) -> Iterator[str]:
        yield "one "
        yield "two"

    events = list(FunctionModel(count).stream(HI))
    assert events == [TextDelta("one "), TextDelta("two"), Finish()]


@pytest.mark.parametrize("answer", [None, 5, b"bytes", {"role": "assistant"}, ["a", 1]])
def test_a_function_that_gives_no_text_is_told_so(answer: Any) -> None:
    with pytest.raises(ModelError, match="the model function gave"):
        fold(FunctionModel(lambda messages: answer).stream(HI))


def test_an_async_function_is_refused_at_once() -> None:
    async def answer(messages: list[dict[str, Any]]) -> str:
        return ""

    with pytest.raises(InvalidInput, match="async"):
        FunctionModel(answer)  # type: ignore[arg-type]
