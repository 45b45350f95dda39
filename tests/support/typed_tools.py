"""Tools that take one argument of some type, and types to take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from enum import Enum
from typing import Annotated, Any, NotRequired, Required, TypedDict

import attrs

from miniagent_redis.tools import ToolRegistry


class Unit(Enum):
    KELVIN = "K"
    CELSIUS = "C"


@attrs.frozen
class Point:
    x: float
    y: float = 0.0
    _tag: str | None = None


class Booking(TypedDict, total=False):
    day: Required[date]
    guests: NotRequired[Annotated[int, "how many"]]
    notes: list[str]


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
