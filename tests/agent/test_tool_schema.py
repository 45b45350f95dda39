"""What a model is told of a type, and what it may send for it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType
from uuid import UUID

import attrs
import pytest

from miniagent_redis.errors import InvalidInput, ToolError
from miniagent_redis.tools import ToolRegistry
from tests.support.typed_tools import Booking, Point, Unit, send, spec_of, taking

UserId = NewType("UserId", str)


class Level(IntEnum):
    LOW = 1


class Step(Enum):
    HALF = 0.5
    WHOLE = 1.0


@dataclasses.dataclass
class Route:
    name: str
    points: list[Point]
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


@attrs.frozen
class Node:
    children: list[Node]


@attrs.frozen
class Positive:
    number: int = attrs.field(validator=attrs.validators.gt(0))


@attrs.frozen
class Picky:
    value: str

    def __attrs_post_init__(self) -> None:
        raise KeyError(self.value)


CASES = [
    (str, {"type": "string"}, "x", "x"),
    (int, {"type": "integer"}, 3, 3),
    (float, {"type": "number"}, 3, 3.0),
    (bool, {"type": "boolean"}, True, True),
    (None, {"type": "null"}, None, None),
    (Any, {}, [1, {}], [1, {}]),
    (UserId, {"type": "string"}, "u", "u"),
    (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}, "a", "a"),
    (Literal[1, "a"], {"enum": [1, "a"]}, 1, 1),
    (Unit, {"enum": ["K", "C"], "type": "string"}, "C", Unit.CELSIUS),
    (Level, {"enum": [1]}, 1, Level.LOW),
    (Level, {"enum": [1]}, 1.0, Level.LOW),
    (Step, {"enum": [0.5, 1.0]}, 1, Step.WHOLE),
    (Literal[1, 2], {"enum": [1, 2]}, 2.0, 2),
    (date, {"type": "string", "format": "date"}, "2026-01-31", date(2026, 1, 31)),
    (time, {"type": "string", "format": "time"}, "14:30:00", time(14, 30)),
    (
        datetime,
        {"type": "string", "format": "date-time"},
        "2026-01-31T14:30:00Z",
        datetime(2026, 1, 31, 14, 30, tzinfo=UTC),
    ),
    (UUID, {"type": "string", "format": "uuid"}, str(UUID(int=5)), UUID(int=5)),
    (Decimal, {"type": "number"}, 0.1, Decimal("0.1")),
    (Decimal, {"type": "number"}, 10**30 + 1, Decimal(10**30 + 1)),
    (Iterable[str], {"type": "array", "items": {"type": "string"}}, ["a"], ["a"]),
    (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, None),
    (typing.Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1, 1),  # noqa: UP045
    (str | int, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, 1),
    (list[int], {"type": "array", "items": {"type": "integer"}}, [1], [1]),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}, ["a"], ["a"]),
    (set[int], {"type": "array", "items": {"type": "integer"}}, [1, 1], {1}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}, [1, 2], (1, 2)),
    (
        tuple[int, str],
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "minItems": 2,
            "maxItems": 2,
        },
        [1, "a"],
        (1, "a"),
    ),
    (
        tuple[float, float],
        {
            "type": "array",
            "prefixItems": [{"type": "number"}, {"type": "number"}],
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
        },
        [1, 2],
        (1.0, 2.0),
    ),
    (list, {"type": "array", "items": {}}, [1, "a"], [1, "a"]),
    (tuple, {"type": "array", "items": {}}, [1, "a"], (1, "a")),
    (typing.List, {"type": "array", "items": {}}, [1], [1]),  # noqa: UP006
    (dict, {"type": "object"}, {"a": 1}, {"a": 1}),
    (
        dict[str, int],
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"a": 1},
        {"a": 1},
    ),
    (Mapping[str, Any], {"type": "object", "additionalProperties": {}}, {"a": 1}, {"a": 1}),
    (Annotated[int, "a size"], {"type": "integer", "description": "a size"}, 1, 1),
]


@pytest.mark.parametrize(("kind", "schema", "sent", "got"), CASES, ids=lambda case: str(case)[:30])
def test_a_type_has_its_schema_and_its_conversion(
    kind: Any, schema: dict[str, Any], sent: Any, got: Any
) -> None:
    assert spec_of(taking(kind))["parameters"]["properties"]["value"] == schema
    received = send(kind, sent)
    assert received == got
    assert type(received) is type(got)


@pytest.mark.parametrize(
    ("kind", "sent", "complaint"),
    [
        (str, 5.5, "argument 'value' must be text, not 5.5"),
        (str, True, "argument 'value' must be text, not true"),
        (str, ["a"], "argument 'value' must be text, not"),
        (int, "3 rooms", "argument 'value' must be a whole number, not \"3 rooms\""),
        (int, "1,000", "a whole number"),
        (int, "3.5", "a whole number"),
        (int, 3.5, "a whole number, not 3.5"),
        (int, True, "a whole number, not true"),
        (float, "nan", "must be a number"),
        (float, 10**400, "must be a number"),
        (bool, "no", "must be true or false"),
        (bool, 1, "must be true or false"),
        (Literal[1], True, "must be one of 1, not true"),
        (Literal[True], 1, "must be one of true, not 1"),
        (date, "tomorrow", 'must be a date such as 2026-01-31, not "tomorrow"'),
        (datetime, 5, "must be a date and time such as 2026-01-31T14:30:00Z, not 5"),
        (UUID, "5", "must be a UUID"),
        (Decimal, "0,1", "must be a number"),
        (Decimal, True, "must be a number"),
        (Unit, "F", 'must be one of "K", "C", not "F"'),
        (Unit, ["K"], "must be one of"),
        (int | None, "x", "must be a whole number or null"),
        (list[int], "1", r"must be a list \(a whole number each\)"),
        (list[list[int]], [[1], [2, "x"]], r"argument 'value\[1\]\[1\]' must be a whole number"),
        (tuple[int, str], [1], "must be a list of 2"),
        (dict[str, int], {"a": "x"}, "argument 'value.a' must be a whole number"),
        (Point, {"y": 1}, "argument 'value.x' is missing; expected a number"),
        (Point, {"x": 1, "z": 1}, "no argument 'value.z'; the arguments are: value.x, value.y"),
        (Point | None, {"x": "far"}, "argument 'value.x' must be a number"),
        (Positive, {"number": 0}, "argument 'value' is not usable: .*> 0"),
        (Picky, {"value": "x"}, "argument 'value' is not usable: 'x'"),
        (Point, 7, r"must be an object \(x, y, tag\)"),
    ],
)
def test_what_does_not_fit_is_explained(kind: Any, sent: Any, complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        send(kind, sent)


def test_all_problems_are_told_at_once() -> None:
    def book(city: str, nights: int, pets: bool = False) -> None: ...

    with pytest.raises(ToolError) as caught:
        ToolRegistry().add(book)({"nights": "two", "stars": 5})
    assert str(caught.value) == (
        "argument 'city' is missing; expected text; "
        "argument 'nights' must be a whole number, not \"two\"; "
        "there is no argument 'stars'; the arguments are: city, nights, pets."
    )


def test_classes_are_objects_and_come_as_instances() -> None:
    schema = spec_of(taking(Route))["parameters"]["properties"]["value"]
    assert schema["required"] == ["name", "points"]
    point = schema["properties"]["points"]["items"]
    assert point["required"] == ["x"]
    assert point["properties"]["y"] == {"type": "number", "default": 0.0}
    assert list(point["properties"]) == ["x", "y", "tag"]
    sent = {"name": "home", "points": [{"x": 1, "tag": "start"}]}
    assert send(Route, sent) == Route("home", [Point(1.0, 0.0, "start")])


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (lambda x: x, "parameter 'x' of tool 't' has no type"),
        (taking(bytes), "type bytes, which a model cannot send"),
        (taking(dict[int, str]), "which a model cannot send"),
        (taking(Literal[Unit.KELVIN]), "JSON does not have"),
        (taking(Node), "Node contains itself"),
        (taking("Nowhere"), "is unknown.*'Nowhere'"),
        (taking(list[bytes]), "parameter 'value' of tool 't' has the type bytes"),
    ],
)
def test_what_a_model_cannot_send_is_refused_at_registration(
    function: Callable[..., Any], complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        ToolRegistry().add(function, name="t")


def test_a_class_with_an_unknown_type_is_refused_at_registration() -> None:
    @attrs.frozen
    class Local:
        near: Nearby  # type: ignore[name-defined] # noqa: F821 # pyright: ignore

    with pytest.raises(InvalidInput, match="a type in Local is unknown"):
        spec_of(taking(Local))


def test_a_typed_dict_is_an_object_and_comes_as_a_dict() -> None:
    schema = spec_of(taking(Booking))["parameters"]["properties"]["value"]
    assert schema["required"] == ["day"]
    assert schema["properties"]["guests"] == {"type": "integer", "description": "how many"}
    sent = {"day": "2026-01-31", "notes": ["late"]}
    assert send(Booking, sent) == {"day": date(2026, 1, 31), "notes": ["late"]}
    with pytest.raises(ToolError, match=r"'value\.day' is missing; expected a date"):
        send(Booking, {"guests": 2})
