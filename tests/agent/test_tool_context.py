"""A parameter annotated ToolContext is filled in, and no model is told of it or can send it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest

from miniagent_redis.errors import InvalidInput
from miniagent_redis.llm import ScriptedModel, ToolCall
from miniagent_redis.tools import ToolContext, ToolRegistry, call_tool
from tests.support.cached_turns import Turns
from tests.support.one_turn import Turn, scripted

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def last(city: str, context: ToolContext) -> str:
    return f"{city} for {context.user_id}"


def first(context: ToolContext, /, city: str) -> str:
    return f"{city} for {context.user_id}"


def by_keyword(city: str, *, who: ToolContext | None = None) -> str:
    return f"{city} for {who and who.user_id}"


def annotated(who: Annotated[ToolContext, "whoever asks"], city: str) -> str:
    return f"{city} for {who.user_id}"


async def asynchronous(city: str, context: ToolContext) -> str:
    return f"{city} for {context.user_id}"


class Clerk:
    def serve(self, context: ToolContext, city: str) -> str:
        return f"{city} for {context.user_id}"


WAYS = [last, first, by_keyword, annotated, asynchronous, Clerk().serve]


@pytest.mark.parametrize("function", WAYS)
def test_the_model_is_not_told_of_it_and_the_function_gets_it(
    function: Callable[..., str],
) -> None:
    tools = ToolRegistry()
    tool = tools.add(function, name="find")
    assert tool.parameters == CITY | {"additionalProperties": False}
    agent = scripted(ToolCall("c", "find", {"city": "Bern"}), "Done", tools=tools)
    assert Turn(agent, user="ada").finish().steps[1].text == "Bern for ada"
    assert isinstance(agent.model, ScriptedModel)
    assert "context" not in str(agent.model.requests[0].tools)


@pytest.mark.parametrize("name", ["context", "who"])
@pytest.mark.parametrize("function", WAYS)
def test_a_model_that_sends_one_is_told_that_there_is_no_such_argument(
    function: Callable[..., str], name: str
) -> None:
    tools = ToolRegistry()
    tools.add(function, name="find")
    sent = {"city": "Bern", name: {"user_id": "eve"}}
    result = call_tool(tools, ToolCall("c", "find", sent))
    assert result.is_error
    assert result.content == f"there is no argument {name!r}; the arguments are: city."


def test_it_says_whose_turn_it_is_and_which_call() -> None:
    tools, seen = ToolRegistry(), []

    @tools.tool
    def look(context: ToolContext) -> None:
        seen.append(context)

    calls = [ToolCall("1", "look"), ToolCall("2", "look")]
    Turn(scripted(calls, "Done", tools=tools), user="ada").finish()
    assert sorted(seen, key=lambda context: context.call_id) == [
        ToolContext("s", "ada", "t", "1"),
        ToolContext("s", "ada", "t", "2"),
    ]


def test_functions_with_a_schema_of_their_own_get_it_too() -> None:
    def named(context: ToolContext, **arguments: Any) -> str:
        return f"{arguments} for {context.user_id}"

    def whole(arguments: dict[str, Any], context: ToolContext) -> str:
        return f"{arguments} for {context.user_id}"

    tools = ToolRegistry()
    tools.add_schema("named", "", CITY, named)
    tools.add_schema("whole", "", CITY, whole)
    calls = [ToolCall(name, name, {"city": "Bern"}) for name in ("named", "whole")]
    outcome = Turn(scripted(calls, "Done", tools=tools), user="ada").finish()
    texts = [step.text for step in outcome.steps if step.role == "tool"]
    assert texts == ["{'city': 'Bern'} for ada"] * 2
    forged = ToolCall("1", "named", {"city": "Bern", "context": {"user_id": "eve"}})
    assert call_tool(tools, forged).text.startswith("there is no argument 'context'")
    with pytest.raises(InvalidInput, match="has context from elsewhere"):
        tools.add_schema("x", "", {"type": "object", "properties": {"context": {}}}, named)


def test_one_that_is_bound_stays_as_it_is() -> None:
    tools = ToolRegistry()
    mine = ToolContext("s", "eve", "t", "c")
    tools.add(partial(by_keyword, who=mine), name="find")
    tools.add_schema("given", "", CITY, partial(by_keyword, who=mine))
    for name in ("find", "given"):
        call = ToolCall("1", name, {"city": "Bern"})
        assert call_tool(tools, call).content == "Bern for eve"


def test_what_is_cached_of_it_is_for_one_session_and_cannot_be_shared(turns: Turns) -> None:
    tools = ToolRegistry()

    @tools.tool(cache_ttl=60)
    def where(context: ToolContext) -> str:
        return context.session_id

    def ask(session: str) -> str:
        outcome = turns.run(ToolCall("1", "where"), "Done", tools=tools, session=session)
        return outcome.steps[1].text

    assert [ask("s"), ask("other"), ask("s")] == ["s", "other", "s"]
    assert len(turns.told("cache_hit")) == 1
    with pytest.raises(InvalidInput, match="its results cannot be shared"):
        tools.add(last, cache_ttl=60, shared=True)
