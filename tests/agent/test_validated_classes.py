"""Classes that know their own schema, as pydantic's do: as types of a tool's parameters."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput, ToolError
from miniagent_redis.tools import ToolRegistry


class Size:
    """What pydantic's classes can do, without pydantic."""

    def __init__(self, value: int) -> None:
        self.value = value

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"$ref": "#/$defs/Size", "$defs": {"Size": {"type": "integer", "title": "Size"}}}

    @classmethod
    def model_validate(cls, value: Any) -> Size:
        if not isinstance(value, int):
            raise ValueError(f"{value} is no size")
        return cls(value)


class Broken(Size):
    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        raise RuntimeError("no schema of that")


def measure(sizes: list[Size], first: Size | None = None) -> int:
    """Measure."""
    return sum(size.value for size in sizes)


def broken(size: Broken) -> int:
    return size.value


def test_such_a_class_is_described_in_one_piece_and_makes_its_instances() -> None:
    tool = ToolRegistry().add(measure)
    assert tool.parameters["properties"]["sizes"] == {
        "type": "array",
        "items": {"type": "integer", "title": "Size"},
    }
    assert tool({"sizes": [1, 2]}) == 3


def test_what_it_refuses_the_model_is_told() -> None:
    with pytest.raises(ToolError) as caught:
        ToolRegistry().add(measure)({"sizes": [1, "big"]})
    assert str(caught.value) == "argument 'sizes[1]' is not usable: big is no size."


def test_one_that_has_no_schema_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no schema of that"):
        ToolRegistry().add(broken)


def test_a_model_of_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    guest = pydantic.create_model("Guest", name=(str, ...), born=(date | None, None))

    def invite(guest: Any) -> str:
        return f"{guest.name}, {guest.born:%Y}"

    invite.__annotations__["guest"] = guest
    tool = ToolRegistry().add(invite)
    assert tool({"guest": {"name": "Ada", "born": "1815-12-10"}}) == "Ada, 1815"
    with pytest.raises(ToolError, match=r"'guest\.name' is not usable"):
        tool({"guest": {}})
