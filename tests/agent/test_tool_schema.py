"""What a model is told of a tool comes from the function's signature and docstring."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.errors import InvalidInput, ToolError
from miniagent_redis.tools import ToolRegistry

UserId = NewType("UserId", str)


class Unit(Enum):
    KELVIN = "K"
    CELSIUS = "C"


class Level(IntEnum):
    LOW = 1


@attrs.frozen
class Point:
    x: float
    y: float = 0.0
    _tag: str | None = None


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


def spec_of(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    tools = ToolRegistry()
    tools.add(function, **options)
    return tools.specs()[0]


def taking(kind: Any) -> Callable[..., Any]:
    """Return a tool that gives back its one argument, of that type."""

    def tool(value: Any) -> Any:
        return value

    tool.__annotations__["value"] = kind
    return tool


def send(kind: Any, value: Any) -> Any:
    """Send a JSON value for an argument of that type; return what the tool gets."""
    return ToolRegistry().add(taking(kind))({"value": value})


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
            "minItems": 2,
            "maxItems": 2,
        },
        [1, "a"],
        (1, "a"),
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
        (str, 5, "argument 'value' must be text, not 5"),
        (int, "3", "argument 'value' must be a whole number, not \"3\""),
        (int, 3.5, "a whole number, not 3.5"),
        (int, True, "a whole number, not true"),
        (float, "nan", "must be a number"),
        (float, 10**400, "must be a number"),
        (bool, "no", "must be true or false"),
        (bool, 1, "must be true or false"),
        (Literal[1], True, "must be one of 1, not true"),
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


def test_defaults_make_arguments_optional_and_are_told() -> None:
    def search(
        text: str, /, limit: int = 10, unit: Unit = Unit.KELVIN, near: Point | None = None
    ) -> Any:
        return text, limit, unit, near

    schema = spec_of(search)["parameters"]
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limit"]["default"] == 10
    assert schema["properties"]["unit"]["default"] == "K"
    assert "default" not in schema["properties"]["near"]
    assert ToolRegistry().add(search)({"text": "x"}) == ("x", 10, Unit.KELVIN, None)


def test_positional_parameters_with_defaults_can_be_left_out() -> None:
    def minus(a: int = 5, b: int = 3, /, *, sign: int = 1) -> int:
        return sign * (a - b)

    tool = ToolRegistry().add(minus)
    assert tool({}) == 2
    assert tool({"b": 1, "sign": -1}) == -4


GOOGLE = """Find a hotel.

    Looks near and far.

    Args:
        city (str): where to look,
            without the country
        stars: how good

    Returns:
        Nothing: of use
    """
NUMPY = """Find a hotel.

    Looks near and far.

    Parameters
    ----------
    city : str
        where to look,
        without the country
    stars : int, optional
        how good

    Returns
    -------
    str
    """
REST = """Find a hotel.

    Looks near and far.

    :param str city: where to look,
        without the country
    :param stars: how good
    :returns: nothing
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST], ids=["google", "numpy", "rest"])
def test_docstrings_describe_the_tool_and_its_parameters(docstring: str) -> None:
    def find(city: str, stars: Annotated[int, "from 1 to 5"] = 3) -> None: ...

    find.__doc__ = docstring
    spec = spec_of(find)
    assert spec["description"] == "Find a hotel.\n\nLooks near and far."
    properties = spec["parameters"]["properties"]
    assert properties["city"]["description"] == "where to look, without the country"
    assert properties["stars"]["description"] == "from 1 to 5"


@given(st.text(alphabet="abc :\n-()*\t") | st.text())
def test_any_docstring_can_be_read(docstring: str) -> None:
    def tool(a: str) -> None: ...

    tool.__doc__ = f"Args:\n{docstring}"
    spec_of(tool)
    tool.__doc__ = docstring
    spec_of(tool)


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


def test_open_parameter_lists_are_refused_at_registration() -> None:
    def many(*things: str) -> None: ...
    def named(**things: str) -> None: ...

    with pytest.raises(InvalidInput, match=r"takes \*things"):
        ToolRegistry().add(many)
    with pytest.raises(InvalidInput, match=r"takes \*\*things"):
        ToolRegistry().add(named)


def test_a_class_with_an_unknown_type_is_refused_at_registration() -> None:
    @attrs.frozen
    class Local:
        near: Nearby  # type: ignore[name-defined] # noqa: F821 # pyright: ignore

    with pytest.raises(InvalidInput, match="a type in Local is unknown"):
        spec_of(taking(Local))


def test_methods_callables_and_partials_are_functions_too() -> None:
    class Shop:
        def price(self, item: str) -> str:
            return item

        def __call__(self, item: str) -> str:
            return item

    def price(currency: str, item: str) -> str:
        return currency + item

    for function in (Shop().price, Shop(), functools.partial(price, "€")):
        tool = ToolRegistry().add(function, name="price")
        assert list(tool.parameters["properties"]) == ["item"]
        assert tool({"item": "tea"}).endswith("tea")


def test_a_partial_is_described_by_its_function() -> None:
    def price(currency: str, item: str) -> str:
        """Tell a price.

        Args:
            item: what is to be bought
        """
        return currency + item

    spec = spec_of(functools.partial(price, "€"), name="price")
    assert spec["description"] == "Tell a price."
    assert spec["parameters"]["properties"]["item"]["description"] == "what is to be bought"


KINDS = st.recursive(
    st.sampled_from([str, int, float, bool, None, Any, Unit, Literal["a", 1], Point]),
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),
        inner.map(lambda kind: dict[str, kind]),
        st.tuples(inner, inner).map(lambda kinds: tuple[kinds]),
        st.tuples(inner, inner).map(lambda kinds: typing.Union[kinds]),  # noqa: UP007
    ),
    max_leaves=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate JSON that a schema of ours promises to accept."""
    if "anyOf" in schema:
        return st.one_of([values_of(option) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "prefixItems" in schema:
        return st.tuples(*map(values_of, schema["prefixItems"])).map(list)
    match schema.get("type"):
        case "array":
            return st.lists(values_of(schema["items"]), max_size=3)
        case "object" if "properties" in schema:
            parts = {name: values_of(part) for name, part in schema["properties"].items()}
            needed = {name: parts.pop(name) for name in schema["required"]}
            return st.fixed_dictionaries(needed, optional=parts)
        case "object":
            return st.dictionaries(st.text(), values_of(schema["additionalProperties"]), max_size=3)
        case None:
            return JSON
        case simple:
            return {
                "string": st.text(),
                "integer": st.integers(),
                "number": st.floats(allow_nan=False, allow_infinity=False),
                "boolean": st.booleans(),
                "null": st.none(),
            }[simple]


@given(st.data())
def test_what_the_schema_promises_is_accepted(data: st.DataObject) -> None:
    tool = ToolRegistry().add(taking(data.draw(KINDS)))
    tool(data.draw(values_of(tool.parameters)))


@given(KINDS, JSON)
def test_anything_else_is_accepted_or_explained(kind: Any, value: Any) -> None:
    with suppress(ToolError):  # anything else it may not raise
        send(kind, value)
