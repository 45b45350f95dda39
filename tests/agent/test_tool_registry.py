"""Functions become tools by a decorator and stay what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput
from miniagent_redis.tools import ToolRegistry


def test_a_decorated_function_stays_what_it_is() -> None:
    tools = ToolRegistry()

    @tools.tool
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @tools.tool()
    def nothing() -> None: ...

    assert add(2, 3) == 5
    assert [tool.name for tool in tools] == ["add", "nothing"]
    assert len(tools) == 2
    assert "add" in tools
    assert tools.specs()[0] == {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 1}},
            "required": ["a"],
            "additionalProperties": False,
        },
    }


def test_a_tool_can_be_named_described_and_limited() -> None:
    tools = ToolRegistry()

    @tools.tool(name="pay", description="Pay a bill", idempotent=False, timeout=5)
    def f() -> None:
        """Never shown."""

    tool = tools.get("pay")
    assert tool is not None
    assert (tool.function, tool.description, tool.idempotent, tool.timeout) == (
        f, "Pay a bill", False, 5,
    )  # fmt: skip
    assert tools.get("f") is None


def test_a_name_can_be_taken_only_once() -> None:
    tools = ToolRegistry()
    tools.add(lambda: 1, name="one")
    with pytest.raises(InvalidInput, match="already a tool 'one'"):
        tools.add(lambda: 2, name="one")


def _generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "options", "complaint"),
    [
        (lambda: 1, {}, "cannot be named '<lambda>'.*name="),
        (lambda: 1, {"name": "a b"}, "cannot be named"),
        (lambda: 1, {"name": "x" * 65}, "cannot be named"),
        (lambda: 1, {"name": "x", "timeout": 0}, "timeout must be seconds above zero"),
        (lambda: 1, {"name": "x", "timeout": "5"}, "timeout must be seconds above zero"),
        (lambda: 1, {"name": "x", "timeout": True}, "timeout must be seconds above zero"),
        (_generator, {}, "return a list instead"),
        ("text", {}, "is no function"),
    ],
)
def test_what_cannot_be_a_tool_is_refused(
    function: Any, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        ToolRegistry().add(function, **options)


def test_a_copy_does_not_follow_the_original() -> None:
    tools = ToolRegistry()
    tools.add(lambda: 1, name="one")
    twin = tools.copy()
    tools.add(lambda: 2, name="two")
    assert [tool.name for tool in twin] == ["one"]
