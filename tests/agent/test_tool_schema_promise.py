"""What a schema promises is accepted, and anything else is explained, whatever the type."""

from __future__ import annotations

import typing
from contextlib import suppress
from datetime import date
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from miniagent_redis.errors import ToolError
from miniagent_redis.tools import ToolRegistry
from tests.support.typed_tools import Booking, Point, Unit, send, taking

KINDS = st.recursive(
    st.sampled_from(
        [str, int, float, bool, None, Any, Unit, Literal["a", 1], Point, date, Booking]
    ),
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
        case "string" if "format" in schema:
            return st.dates().map(date.isoformat)
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
