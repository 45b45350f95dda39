"""Which replies of models come from a cache, which requests are the same, what is never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import attrs
import pytest

from miniagent_redis.agent import Agent, AgentConfig, History
from miniagent_redis.agent.caching import cache_name
from miniagent_redis.agent.spent import spent_on
from miniagent_redis.errors import InvalidInput, ModelError
from miniagent_redis.llm import Block, Finish, Reply, ScriptedModel, TextDelta, ToolCall, Usage
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.records.converter import converter
from miniagent_redis.runtime.pausing import without_pauses
from tests.support.cached_turns import Turns, Weather
from tests.support.one_turn import Context


def test_a_model_is_not_asked_the_same_again(turns: Turns) -> None:
    first = turns.run(["Hel", "lo", Usage(10, 5)], model_cache_ttl=60)
    assert turns.told("cache_miss") == [{"what": "model", "name": CACHED_NAME}]
    again = turns.run(model_cache_ttl=60)  # its script is empty
    assert (first.text, again.text) == ("Hello", "Hello")
    assert turns.told("text_delta") == [{"text": "Hello"}]
    assert turns.told("cache_hit") == [
        {"what": "model", "name": CACHED_NAME, "saved_seconds": 2.0, "saved_tokens": 15}
    ]
    assert spent_on(first.steps) == UsageTotals(10, 5, unpriced_turns=1)
    assert spent_on(again.steps) == UsageTotals(cache_hits=1, saved_seconds=2.0, saved_tokens=15)
    assert again.steps[0].metadata == {"cached": True, "saved_seconds": 2.0, "saved_tokens": 15}


CACHED_NAME = "miniagent_redis.llm.scripted.ScriptedModel:m"


@pytest.mark.parametrize(
    "kept",
    [
        {"text": 5},
        {},
        [],
        "x",
        None,
        5,
        {"text": "", "tool_calls": [{"id": "a", "arguments": "x"}]},
    ],
    ids=repr,
)
def test_an_entry_that_is_no_reply_is_none(
    turns: Turns, kept: Any, caplog: pytest.LogCaptureFixture
) -> None:
    turns.run("One", model_cache_ttl=60)
    (key,) = turns.cache.values
    turns.cache.values[key] = kept
    assert turns.run("Two", model_cache_ttl=60).text == "Two"
    assert "an entry of the cache is no reply of a model" in caplog.text
    assert turns.run(model_cache_ttl=60).text == "Two"


def test_models_are_cached_only_when_that_is_wanted(turns: Turns) -> None:
    turns.run("One")
    assert turns.run("Two").text == "Two"
    assert (turns.cache.values, turns.told("cache_miss")) == ({}, [])


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"session": "other"}, True),
        ({"model_timeout": 5}, True),
        ({"text": "Ho"}, False),
        ({"user": "eve"}, False),
        ({"system_prompt": "Be brief."}, False),
        ({"temperature": 0.5}, False),
        ({"model_name": "other"}, False),
        ({"tools": Weather().tools}, False),
        ({"history": (Message("user", "a"), Message("assistant", "b"))}, False),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else str(value),
)
def test_the_same_request_is_told_from_others(turns: Turns, other: Any, is_same: bool) -> None:
    turns.run("One", model_cache_ttl=60)
    assert turns.run("Two", model_cache_ttl=60, **other).text == ("One" if is_same else "Two")


def test_without_a_user_a_reply_is_the_sessions_own(turns: Turns) -> None:
    asked: Any = {"user": None, "model_cache_ttl": 60}
    assert turns.run("One", **asked).text == "One"
    assert turns.run(**asked).text == "One"
    assert turns.run("Two", session="other", **asked).text == "Two"


def talk(call_id: str) -> tuple[Message, ...]:
    return (
        Message("user", "a", created_at=len(call_id), turn_id=call_id),
        Message("assistant", tool_calls=(ToolCall(call_id, "f", {"x": 1}),), metadata={"n": 1}),
        Message("tool", "1", tool_call_id=call_id, name="f"),
        Message("assistant", "b"),
    )


def test_ids_and_times_in_the_history_make_no_difference(turns: Turns) -> None:
    turns.run("One", model_cache_ttl=60, history=talk("first"))
    assert turns.run(model_cache_ttl=60, history=talk("other")).text == "One"
    other = [attrs.evolve(message, metadata={"blocks": [1]}) for message in talk("first")]
    assert turns.run("Two", model_cache_ttl=60, history=tuple(other)).text == "Two"


def test_a_result_that_is_an_error_is_another(turns: Turns) -> None:
    user, asked, found, told = talk("a")
    failed = attrs.evolve(found, metadata={"is_error": True})
    turns.run("One", model_cache_ttl=60, history=(user, asked, found, told))
    other = turns.run("Two", model_cache_ttl=60, history=(user, asked, failed, told))
    assert other.text == "Two"


def test_a_turn_with_tools_comes_from_the_cache_as_a_whole(turns: Turns) -> None:
    tool = Weather(cache_ttl=None)
    tool.ask(turns, model_cache_ttl=60)
    again = turns.run(tools=tool.tools, model_cache_ttl=60)
    assert again.text == "Done"
    assert (spent_on(again.steps).cache_hits, spent_on(again.steps).tool_calls, tool.runs) == (
        2,
        1,
        2,
    )


def test_a_call_id_never_comes_twice_in_one_conversation(turns: Turns) -> None:
    tool = Weather(cache_ttl=None)
    call = ToolCall("b", "weather", {"city": "Oslo"})
    options: Any = {"tools": tool.tools, "model_cache_ttl": 60}
    turns.run(call, "Done", history=talk("a"), **options)
    other = attrs.evolve(call, id="c")
    again = turns.run(other, history=talk("b"), **options)
    assert [call.id for step in again.steps for call in step.tool_calls] == ["c"]
    assert again.text == "Done"


@pytest.mark.parametrize(
    "reply", [["Half", Finish("length")], ["No", Finish("content_filter")], OSError(), [" "]]
)
def test_what_is_no_whole_answer_is_not_kept(turns: Turns, reply: Any) -> None:
    with suppress(ModelError):
        turns.run(reply, model_cache_ttl=60)
    assert turns.cache.values == {}
    assert turns.run("Whole", model_cache_ttl=60).text == "Whole"


def answer(messages: list[dict[str, Any]]) -> str:
    return "Hello"


class Bot:
    def answer(self, messages: list[dict[str, Any]]) -> str:
        return "Hello"


def test_a_model_must_say_what_it_is_to_be_cached() -> None:
    assert cache_name("openai:x") == "openai:x"
    assert cache_name(answer) == f"{__name__}.answer"
    for nameless in (ScriptedModel([]), lambda messages: "", Bot().answer):
        with pytest.raises(InvalidInput, match="name"):
            Agent(AgentConfig(model=cast(Any, nameless), model_cache_ttl=60))
        Agent(AgentConfig(model=cast(Any, nameless)))


BLOCK = Block("vendor", {"signature": "x", "n": 2**60})


def test_blocks_of_a_provider_come_back(turns: Turns) -> None:
    reply = Reply("Hi", (ToolCall("a", "f", {"x": [1]}),), Usage(1, 2), blocks=(BLOCK,))
    assert converter.structure(converter.unstructure(reply), Reply) == reply
    first = turns.run(["Hi", BLOCK], model_cache_ttl=60)
    again = turns.run(model_cache_ttl=60)
    blocks = [turn.steps[0].metadata["blocks"] for turn in (first, again)]
    assert blocks == [[{"provider": "vendor", "data": BLOCK.data}]] * 2


def test_a_cancelled_turn_waits_no_longer_for_anothers_reply(turns: Turns) -> None:
    cancelled = threading.Event()

    def wait(check: Callable[[], object]) -> None:
        check()
        cancelled.set()
        check()
        pytest.fail("it waits on")

    turns.cache.before_looking = wait
    turn = Agent(AgentConfig(model_cache_ttl=60), lookups=turns.cache).stream_turn(
        History(), [Message("user", "Hi")], Context(is_cancelled=cancelled.is_set)
    )
    with pytest.raises(StopIteration) as end:
        next(turn)
    assert end.value.value.interrupted == "cancelled"


def test_half_an_answer_is_not_kept_when_nobody_listens_any_more(turns: Turns) -> None:
    model = ScriptedModel([["a", "b"]])
    model.name = "m"  # type: ignore[attr-defined]
    config = AgentConfig(model=model, model_cache_ttl=60)
    turn = Agent(config, lookups=turns.cache).stream_turn(
        History(), [Message("user", "Hi")], Context()
    )
    assert next(without_pauses(turn)).text == TextDelta("a").text
    turn.close()
    assert turns.cache.values == {}
