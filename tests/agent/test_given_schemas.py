"""Tools with a JSON schema of their own: models get it as it is, and calls are checked by it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput, ToolError
from miniagent_redis.llm import ScriptedModel, ToolCall
from miniagent_redis.tools import ToolRegistry, call_tool
from miniagent_redis.tools.canonical import canonical_arguments
from tests.support.one_turn import Turn, scripted

FORECAST = {
    "type": "object",
    "title": "Forecast",
    "properties": {
        "city": {"type": "string", "examples": ["Zürich"]},
        "days": {"type": "integer", "minimum": 1},
        "with-wind": {"type": ["boolean", "null"]},
        "at": {"$ref": "#/$defs/place"},
    },
    "required": ["city"],
    "$defs": {"place": {"type": "object"}},
}


def keep(**arguments: Any) -> Any:
    return arguments


def registry(schema: Any = FORECAST, function: Callable[..., Any] = keep) -> ToolRegistry:
    tools = ToolRegistry()
    tools.add_schema("forecast", "Tell the weather.", schema, function)
    return tools


def answer(tools: ToolRegistry, **arguments: Any) -> tuple[str, bool]:
    result = call_tool(tools, ToolCall("id", "forecast", arguments))
    return result.text, result.is_error


def test_the_model_is_told_the_schema_as_it_is_and_its_arguments_arrive_as_they_came() -> None:
    got: list[dict[str, Any]] = []
    sent = {"city": "Zürich", "days": 3.0, "with-wind": None, "at": {"x": [1]}, "more": "unasked"}
    tools = registry(function=lambda **arguments: got.append(arguments))
    agent = scripted(ToolCall("a", "forecast", sent), "Sunny", tools=tools)
    assert Turn(agent).finish().text == "Sunny"
    assert got == [sent]
    assert isinstance(agent.model, ScriptedModel)
    told = agent.model.requests[0].tools[0]
    assert (told.name, told.description) == ("forecast", "Tell the weather.")
    assert told.parameters == FORECAST


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "argument 'city' is missing; expected text"),
        ({"city": None}, "argument 'city' must be text, not null"),
        ({"city": "x", "days": "few"}, "argument 'days' must be a whole number, not \"few\""),
        ({"city": "x", "days": 2.5}, "argument 'days' must be a whole number, not 2.5"),
        ({"city": "x", "days": True}, "argument 'days' must be a whole number, not true"),
        ({"city": "x", "with-wind": 1}, "argument 'with-wind' must be true or false or null"),
        ({"days": "few"}, "'days' must be a whole number, not \"few\""),
    ],
)
def test_what_does_not_fit_the_model_is_told_and_the_function_is_not_called(
    arguments: dict[str, Any], complaint: str
) -> None:
    text, is_error = answer(
        registry(function=lambda **arguments: pytest.fail("called")), **arguments
    )
    assert is_error
    assert complaint in text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "x"), ("integer", 1), ("integer", 1.0), ("number", 1), ("number", 1.5),
        ("boolean", False), ("array", [1]), ("object", {}), ("null", None),
        (["string", "null"], None), ("a type of tomorrow", 1), (None, 1),
    ],
)  # fmt: skip
def test_a_value_of_its_type_is_taken(kind: Any, value: Any) -> None:
    schema = {"type": "object", "properties": {"x": {"type": kind}}, "required": ["x"]}
    _, is_error = answer(registry(schema), x=value)
    assert not is_error


def test_an_argument_that_the_schema_does_not_allow_is_told() -> None:
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    text, is_error = answer(registry(closed), more=1)
    assert is_error
    assert text.startswith("there is no argument 'more'")


def test_a_function_may_name_its_parameters_or_take_one_dict() -> None:
    def named(city: str, days: int = 1, **others: Any) -> str:
        return f"{city} {days} {sorted(others)}"

    def remote(tool: str, arguments: dict[str, Any], timeout: float = 1) -> str:
        return f"{tool} {arguments}"

    assert answer(registry(function=named), city="Bern", at={}) == ("Bern 1 ['at']", False)
    by_dict = registry(function=partial(remote, "forecast"))
    assert answer(by_dict, city="Bern") == ("forecast {'city': 'Bern'}", False)


def test_a_function_that_names_all_is_given_nothing_else() -> None:
    schema = {"type": "object", "properties": {"city": {}}}
    text, is_error = answer(registry(schema, lambda city="": city), city="Bern", more=1)
    assert is_error
    assert text.startswith("there is no argument 'more'; the arguments are: city")


def test_a_model_cannot_change_what_a_partial_binds() -> None:
    bound = partial(keep, token="ours")
    text, is_error = answer(registry(function=bound), city="Bern", token="theirs")
    assert is_error
    assert text.startswith("there is no argument 'token'")
    with pytest.raises(InvalidInput, match="has city from elsewhere"):
        registry(function=partial(keep, city="ours"))


def test_the_schema_and_the_arguments_are_nobody_elses_to_change() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"x": {}}}
    tools = registry(schema, lambda x: x.clear())
    schema["properties"].clear()
    call = ToolCall("id", "forecast", {"x": [1]})
    assert not call_tool(tools, call).is_error
    assert call.arguments == {"x": [1]}
    assert tools.specs()[0]["parameters"]["properties"] == {"x": {}}


def test_any_mapping_is_a_schema_and_the_decorator_takes_one_too() -> None:
    tools = ToolRegistry()

    @tools.tool(parameters=MappingProxyType(FORECAST), timeout=5)
    def forecast(**arguments: Any) -> int:
        """Tell the weather."""
        return len(arguments)

    tool = tools.get("forecast")
    assert tool is not None
    assert (tool.parameters, tool.description, tool.timeout) == (FORECAST, "Tell the weather.", 5)
    assert answer(tools, city="Bern") == ("1", False)


@pytest.mark.parametrize(
    ("schema", "function", "complaint"),
    [
        ({}, keep, 'must be a JSON schema of an object.*{"type": "object", "properties": {}}'),
        ("text", keep, "must be a JSON schema of an object"),
        ({"type": "string"}, keep, "must be a JSON schema of an object"),
        ({"type": "object", "default": {1}}, keep, "set is not JSON serializable"),
        ({"type": "object", "properties": []}, keep, "is none.*properties must be an object"),
        ({"type": "object", "required": True}, keep, "is none.*a list of names"),
        (FORECAST, lambda city: city, "arguments are city, days, with-wind, at; the function has"),
        (FORECAST, lambda: 1, "does not take what its schema describes.*as one dict"),
        (FORECAST, "text", "is no function"),
    ],
)
def test_what_is_no_tool_is_refused_and_leaves_no_trace(
    schema: Any, function: Any, complaint: str
) -> None:
    tools = ToolRegistry()
    with pytest.raises(InvalidInput, match=complaint):
        tools.add_schema("forecast", "", schema, function)
    assert len(tools) == 0


def test_equal_calls_are_equal_for_the_cache_and_misfitting_ones_are_told() -> None:
    tool = next(iter(registry()))
    first = canonical_arguments(tool, {"city": "x", "days": 1})
    assert first == canonical_arguments(tool, {"days": 1, "city": "x"})
    assert first != canonical_arguments(tool, {"city": "x"})
    with pytest.raises(ToolError, match="'city' is missing"):
        canonical_arguments(tool, {})
