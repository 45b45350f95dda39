"""Slips of small models that can mean one thing only are taken for that; others are told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, TypedDict

import attrs
import pytest

from miniagent_redis.errors import ToolError
from miniagent_redis.models import ToolCall
from miniagent_redis.tools import ToolRegistry, call_tool
from miniagent_redis.tools.canonical import canonical_arguments
from tests.support.typed_tools import Booking, Point, Unit, send


class Place(TypedDict):
    name: str
    size: int


@pytest.mark.parametrize(
    ("kind", "sent", "got"),
    [
        (int, "5", 5),
        (int, " -5 ", -5),
        (int, "5.0", 5),
        (int, 5.0, 5),
        (float, "2.5", 2.5),
        (float, "1e3", 1000.0),
        (Decimal, "2.5", Decimal("2.5")),
        (bool, "true", True),
        (bool, "False", False),
        (str, 12345, "12345"),
        (list[int], "[1, 2]", [1, 2]),
        (list[int], ["1", 2.0], [1, 2]),
        (tuple[int, str], ["1", 7], (1, "7")),
        (dict[str, float], '{"a": "2.5"}', {"a": 2.5}),
        (Point, '{"x": "1"}', Point(1.0)),
        (Point, {"x": 1, "y": None}, Point(1.0)),
        (list[Point], '[{"x": 1}]', [Point(1.0)]),
        (Place, {"name": 5, "size": "5"}, {"name": "5", "size": 5}),
        (int | None, "5", 5),
        (int | None, "null", None),
        (list[int] | int, "[5]", [5]),
        (Literal[1, 2], "2", 2),
        (Literal["1", "2"], 2, "2"),
        (Literal[True, "maybe"], "True", True),
    ],
    ids=str,
)
def test_a_slip_that_means_one_thing_is_taken(kind: Any, sent: Any, got: Any) -> None:
    received = send(kind, sent)
    assert received == got
    assert type(received) is type(got)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (str, "5"),
        (str, '{"a": 1}'),
        (str | None, "null"),
        (int | str, "5"),
        (list[int] | list[str], ["5"]),
        (bool | str, "true"),
        (dict[str, Any], {"a": "5", "b": None}),
        (Any, "5"),
        (Literal["true", True], "true"),
    ],
    ids=str,
)
def test_what_fits_as_it_is_stays_so(kind: Any, sent: Any) -> None:
    received = send(kind, sent)
    assert received == sent
    assert type(received) is type(sent)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (int, ""), (int, "five"), (int, "true"), (int, "NaN"), (int, "[5]"), (int, True),
        (float, "Infinity"), (float, "1" * 5000), (bool, "yes"), (bool, "1"), (bool, 0),
        (str, 5.0), (str, None), (str, {}), (list[int], "1, 2"), (list[int], 1), (list[str], "a"),
        (list[Any], "[NaN]"), (Point, "x=1"), (Unit, "k"), (Booking, {"day": 20260131}),
        (list[Any], "[" * 100_000),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_what_may_mean_two_things_or_none_is_told(kind: Any, sent: Any) -> None:
    with pytest.raises(ToolError, match="must be"):
        send(kind, sent)


def test_null_for_a_parameter_that_has_a_default_is_the_default() -> None:
    def book(city: str, nights: int = 2, note: str | None = "none") -> list[Any]:
        return [city, nights, note]

    tool = ToolRegistry().add(book)
    assert tool({"city": "Bern", "nights": None}) == ["Bern", 2, "none"]
    assert tool({"city": "Bern", "note": None}) == ["Bern", 2, None], "null is one of its values"
    with pytest.raises(ToolError, match="'city' must be text, not null"):
        tool({"city": None, "nights": None})


def test_what_is_left_wrong_is_told_and_the_rest_is_not() -> None:
    def book(nights: int, guests: int) -> None: ...

    with pytest.raises(ToolError) as caught:
        ToolRegistry().add(book)({"nights": "2", "guests": "two"})
    assert str(caught.value) == "argument 'guests' must be a whole number, not \"two\"."


def test_a_call_with_slips_is_for_the_cache_the_same_as_one_without() -> None:
    def book(nights: int, pets: bool = False) -> None: ...

    tool = ToolRegistry().add(book)
    assert canonical_arguments(tool, {"nights": "2", "pets": None}) == canonical_arguments(
        tool, {"nights": 2}
    )


def test_the_model_is_shown_the_call_as_it_was_sent() -> None:
    def book(nights: list[int]) -> int:
        return sum(nights)

    tools = ToolRegistry()
    tools.add(book)
    call = ToolCall("id", "book", {"nights": ["2", 3]})
    assert call_tool(tools, call).content == "5"
    assert call.arguments == {"nights": ["2", 3]}


GIVEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "wind": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "at": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
        "unit": {"enum": ["C", "F", 1]},
        "note": {"type": "string", "nullable": True},
        "any": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ({"days": "3"}, {"days": 3}),
        ({"days": 3.0}, {"days": 3}),
        ({"days": None}, {}),
        ({"wind": "true"}, {"wind": True}),
        ({"tags": '["a"]'}, {"tags": ["a"]}),
        ({"tags": ["a", 5]}, {"tags": ["a", "5"]}),
        ({"at": '{"x": "1.5"}'}, {"at": {"x": 1.5}}),
        ({"unit": "1"}, {"unit": 1}),
        ({"note": None}, {"note": None}),
        ({"any": "5"}, {"any": "5"}),
        ({"either": "5"}, {"either": 5}),
        ({"either": None}, {"either": None}),
        ({"unknown": "5"}, {"unknown": "5"}),
    ],
    ids=str,
)
def test_a_tool_with_a_schema_of_its_own_is_given_what_was_meant(
    sent: dict[str, Any], got: dict[str, Any]
) -> None:
    received: list[dict[str, Any]] = []
    tools = ToolRegistry()
    tools.add_schema("look", "", GIVEN, lambda **arguments: received.append(arguments))
    result = call_tool(tools, ToolCall("id", "look", {"city": "Bern", **sent}))
    assert (result.content, result.is_error) == ("", False)
    assert received == [{"city": "Bern", **got}]
    assert {name: type(value) for name, value in received[0].items()} == {
        "city": str, **{name: type(value) for name, value in got.items()}
    }  # fmt: skip


def test_a_class_that_has_a_member_with_a_default_may_be_sent_null_for_it() -> None:
    @attrs.frozen
    class Window:
        start: int
        size: int = 10

    assert send(Window, {"start": "1", "size": None}) == Window(1, 10)
