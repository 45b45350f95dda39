"""What a model is told of a function: its parameters, their defaults and its docstring."""

from __future__ import annotations

import functools
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.errors import InvalidInput, ToolError
from miniagent_redis.tools import ToolRegistry
from tests.support.typed_tools import Point, Unit, spec_of

FAR = Point(5)


def test_defaults_make_arguments_optional_and_are_told() -> None:
    def search(
        text: str,
        /,
        limit: int = 10,
        unit: Unit = Unit.KELVIN,
        near: Point | None = None,
        day: date = date(2026, 1, 31),
        price: Decimal = Decimal("9.5"),
        far: Point = FAR,
    ) -> Any:
        return text, limit, unit, near

    schema = spec_of(search)["parameters"]
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["limit"]["default"] == 10
    assert schema["properties"]["unit"]["default"] == "K"
    assert schema["properties"]["day"]["default"] == "2026-01-31"
    assert schema["properties"]["price"]["default"] == 9.5
    assert "default" not in schema["properties"]["near"]
    assert "default" not in schema["properties"]["far"], "its fields have other names there"
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


def test_parameters_in_further_sections_or_described_together_are_found_too() -> None:
    def find(city: str, lat: float, lon: float, *, stars: int = 3) -> None: ...

    find.__doc__ = """Find a hotel.

    Parameters
    ----------
    lat, lon : float
        where to look

    Other Parameters
    ----------------
    stars : int
        how good
    """
    properties = spec_of(find)["parameters"]["properties"]
    assert [properties[name].get("description") for name in properties] == [
        None, "where to look", "where to look", "how good",
    ]  # fmt: skip
    find.__doc__ = "Find.\n\nArgs:\n    city: where\n\nKeyword Args:\n    stars: how good"
    spec = spec_of(find)
    assert spec["description"] == "Find."
    assert spec["parameters"]["properties"]["stars"]["description"] == "how good"


@given(st.text(alphabet="abc :\n-()*\t") | st.text())
def test_any_docstring_can_be_read(docstring: str) -> None:
    def tool(a: str) -> None: ...

    tool.__doc__ = f"Args:\n{docstring}"
    spec_of(tool)
    tool.__doc__ = docstring
    spec_of(tool)


def test_open_parameter_lists_are_refused_at_registration() -> None:
    def many(*things: str) -> None: ...
    def named(**things: str) -> None: ...

    with pytest.raises(InvalidInput, match=r"takes \*things"):
        ToolRegistry().add(many)
    with pytest.raises(InvalidInput, match=r"takes \*\*things"):
        ToolRegistry().add(named)


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


def test_what_a_partial_binds_is_neither_told_to_the_model_nor_taken_from_it() -> None:
    def query(text: str, *, client: object, password: str) -> str:
        return text + password

    tool = ToolRegistry().add(functools.partial(query, client=open, password="secret"))
    assert list(tool.parameters["properties"]) == ["text"]
    assert tool({"text": "x"}) == "xsecret"
    with pytest.raises(ToolError, match="no argument 'password'"):
        tool({"text": "x", "password": "guess"})


def test_types_may_be_written_as_text_in_part_too() -> None:
    def walk(to: list["Point"], by: "Point | None" = None) -> "Nowhere":  # type: ignore[name-defined] # noqa: F821, UP037 # pyright: ignore
        return to

    assert ToolRegistry().add(walk)({"to": [{"x": 1}]}) == [Point(1.0)]


def test_decorated_functions_and_classes_are_functions_too() -> None:
    def scale(by: Unit) -> Unit:
        return by

    @functools.wraps(scale)
    def decorated(*args: Any, **options: Any) -> Any:
        return scale(*args, **options)

    assert ToolRegistry().add(decorated)({"by": "K"}) is Unit.KELVIN
    assert ToolRegistry().add(Point)({"x": 1}) == Point(1.0)


def test_a_method_without_its_object_is_refused_with_the_way_out() -> None:
    class Shop:
        def price(self, item: str) -> str:
            return item

    with pytest.raises(InvalidInput, match=r"tools\.add\(instance\.method\)"):
        ToolRegistry().add(Shop.price)


def test_a_type_that_is_no_python_is_refused() -> None:
    def look(what: "a nice thing") -> None: ...  # type: ignore # noqa: F722 # pyright: ignore

    with pytest.raises(InvalidInput, match="a type in the signature of tool 'look' is unknown"):
        ToolRegistry().add(look)


def test_a_partial_is_named_and_described_by_its_function() -> None:
    def price(currency: str, item: str) -> str:
        """Tell a price.

        Args:
            item: what is to be bought
        """
        return currency + item

    spec = spec_of(functools.partial(price, "€"))
    assert (spec["name"], spec["description"]) == ("price", "Tell a price.")
    assert spec["parameters"]["properties"]["item"]["description"] == "what is to be bought"
