"""Equal calls of a tool can be told by their text."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

import attrs
import pytest

from miniagent_redis.errors import ToolError
from miniagent_redis.models import ToolCall
from miniagent_redis.tools import ToolRegistry, call_tool
from miniagent_redis.tools.canonical import canonical_arguments


class Unit(Enum):
    METRIC = "metric"


@attrs.frozen
class Place:
    name: str
    tags: frozenset[str] = frozenset()


def where(place: Place, units: Unit = Unit.METRIC, limit: float = 3) -> None: ...


@pytest.mark.parametrize(
    "arguments",
    [
        {"place": {"name": "x", "tags": ["b", "a"]}},
        {"limit": 3, "place": {"tags": ["a", "b", "a"], "name": "x"}},
        {"units": "metric", "place": {"name": "x", "tags": ["a", "b"]}, "limit": 3.0},
    ],
)
def test_equal_calls_have_equal_arguments(arguments: Any) -> None:
    tool = ToolRegistry().add(where)
    assert canonical_arguments(tool, arguments) == (
        '{"limit":3.0,"place":{"name":"x","tags":["a","b"]},"units":"metric"}'
    )


def test_a_default_is_equal_to_the_same_value_when_it_is_sent() -> None:
    def tax(day: date = date(2026, 1, 31), rate: Decimal = Decimal("0.19")) -> None: ...

    tool = ToolRegistry().add(tax)
    sent = {"rate": 0.19, "day": "2026-01-31"}
    assert canonical_arguments(tool, sent) == canonical_arguments(tool, {})


def test_arguments_that_do_not_fit_have_no_form() -> None:
    tool = ToolRegistry().add(where)
    with pytest.raises(ToolError, match="'place' is missing"):
        canonical_arguments(tool, {})


def test_what_a_partial_binds_is_an_argument_too() -> None:
    def add(a: Any, b: Any, *, c: Any = 0) -> None: ...

    registry = ToolRegistry()

    def text(name: str, function: Any) -> str:
        return canonical_arguments(registry.add(function, name=name), {"b": 1})

    texts = [
        text("plain", partial(add, "x")),
        text("other", partial(add, "y")),
        text("joined", partial(add, "x", c=1)),
        text("unwritable", partial(add, object())),
    ]
    assert len(set(texts)) == 4
    assert texts[3] == text("again", partial(add, object()))


def opaque(value: str) -> Any:
    return object()


@attrs.frozen
class Opaque:
    value: str = attrs.field(converter=opaque)


@attrs.define
class Unfinished:
    value: str
    rest: str = attrs.field(init=False)


@pytest.mark.parametrize("kind", [Opaque, Unfinished])
def test_what_has_no_json_is_taken_as_it_was_sent(kind: type) -> None:
    def look(it: Any) -> None: ...

    registry = ToolRegistry()
    look.__annotations__["it"] = kind
    tool = registry.add(look)
    assert canonical_arguments(tool, {"it": {"value": "a"}}) == '{"it":{"value":"a"}}'
    assert not call_tool(registry, ToolCall("a", "look", {"it": {"value": "a"}})).is_error
