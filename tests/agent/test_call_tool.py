"""Whatever a tool does becomes text for the model."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from datetime import date, datetime
from enum import Enum
from typing import Any

import attrs
import pytest

from miniagent_redis.errors import ToolError
from miniagent_redis.models import ToolCall, ToolResult
from miniagent_redis.tools import ToolRegistry, call_tool


@attrs.frozen
class Point:
    x: int
    day: date = date(2026, 1, 2)


@dataclasses.dataclass
class Pair:
    left: Point
    tags: frozenset[str]


class Color(Enum):
    RED = "red"


class Shade(str, Enum):  # noqa: UP042  # as programs older than StrEnum have it
    DARK = "dark"


def call(function: Callable[..., Any], **arguments: Any) -> ToolResult:
    tools = ToolRegistry()
    tools.add(function, name="tool")
    return call_tool(tools, ToolCall("id", "tool", arguments))


def circle() -> dict[str, Any]:
    own: dict[str, Any] = {}
    own["self"] = own
    return own


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("lone \ud800 surrogate", "lone \ud800 surrogate"),
        (None, ""),
        (True, "true"),
        (2**53 + 1, "9007199254740993"),
        ({"city": "Zürich", "at": None}, '{"city": "Zürich", "at": null}'),
        ((1, 2), "[1, 2]"),
        (Point(1), '{"x": 1, "day": "2026-01-02"}'),
        ([Pair(Point(1), frozenset("ba"))], None),
        (Color.RED, "red"),
        (Shade.DARK, "dark"),
        ({"b", "a"}, '["a", "b"]'),
        (iter([1, 2]), "[1, 2]"),
        ([datetime(2026, 1, 2, 3)], '["2026-01-02T03:00:00"]'),
        (date(2026, 1, 2), "2026-01-02"),
        (b"bytes", "bytes"),
        ({(1, 2): 3}, "{(1, 2): 3}"),
    ],
)
def test_values_become_text(value: Any, text: str | None) -> None:
    result = call(lambda: value)
    assert not result.is_error
    if text is None:
        day = {"x": 1, "day": "2026-01-02"}
        assert json.loads(result.text) == [{"left": day, "tags": ["a", "b"]}]
    else:
        assert result.content == text


def test_a_value_that_contains_itself_is_still_shown() -> None:
    assert not call(circle).is_error


def test_an_async_function_is_run_to_its_end() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    assert call(double, number=21) == ToolResult("id", "tool", "42")


def test_another_loop_can_run_async_functions() -> None:
    class Elsewhere(ToolRegistry):
        def run_coroutine(self, coroutine: Any) -> Any:
            coroutine.close()
            return "elsewhere"

    async def tool() -> None: ...

    tools = Elsewhere()
    tools.add(tool)
    assert call_tool(tools.copy(), ToolCall("id", "tool")).content == "elsewhere"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ToolError("no such city", hint="try Zürich"), "no such city. try Zürich."),
        (
            ToolError("it does not compile:\n\tline 3: \ud800"),
            "it does not compile:\n\tline 3: \ud800.",
        ),
        (KeyError("city"), "KeyError: 'city'"),
        (StopIteration(), "StopIteration"),
        (asyncio.CancelledError(), "CancelledError"),
        (Unprintable(), "Unprintable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_tool_that_raises_is_data(error: BaseException, text: str) -> None:
    def fail() -> None:
        raise error

    result = call(fail)
    assert result.is_error
    assert text in result.content
    assert "Traceback" not in result.content


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_wish_to_stop_is_not_swallowed(error: type[BaseException]) -> None:
    def stop() -> None:
        raise error

    with pytest.raises(error):
        call(stop)


def test_a_tool_may_change_what_it_is_given() -> None:
    def drain(some: dict[str, Any], any_: Any, plain: dict) -> None:  # type: ignore[type-arg]
        for each in (some["list"], any_, plain):
            each.clear()

    tools = ToolRegistry()
    tools.add(drain)
    sent = ToolCall("id", "drain", {"some": {"list": [1]}, "any_": [1], "plain": {"a": 1}})
    assert not call_tool(tools, sent).is_error
    assert sent.arguments == {"some": {"list": [1]}, "any_": [1], "plain": {"a": 1}}


def test_arguments_that_do_not_fit_are_data() -> None:
    def weather(city: str) -> str:
        return city

    assert call(weather) == ToolResult(
        "id", "tool", "argument 'city' is missing; expected text.", is_error=True, not_run=True
    )
    assert "there is no argument 'town'" in call(weather, town="x").content


def test_an_unknown_tool_is_answered_with_the_known_ones() -> None:
    tools = ToolRegistry()
    tools.add(lambda: 1, name="one")
    result = call_tool(tools, ToolCall("id", "two"))
    assert result == ToolResult(
        "id", "two", "there is no tool 'two'; the tools are: one", is_error=True, not_run=True
    )


def test_a_huge_result_is_cut_and_says_so() -> None:
    assert call(lambda: "x" * 100_000).content == "x" * 100_000
    content = call(lambda: "x" * 100_001).text
    assert len(content) < 100_200
    assert content.endswith("the result has 100,001 characters, only the first 100,000 are shown]")


def test_how_long_a_result_may_be_can_be_set() -> None:
    tools = ToolRegistry()
    tools.add(lambda: "x" * 50, name="long")
    content = call_tool(tools, ToolCall("id", "long"), longest=10).text
    assert content.startswith("x" * 10 + "\n[cut here: the result has 50 characters")


def test_a_generator_is_read_to_its_end() -> None:
    assert call(lambda: (n for n in range(3))) == ToolResult("id", "tool", "[0, 1, 2]")
    assert call(lambda: (1 / n for n in range(3))).is_error
