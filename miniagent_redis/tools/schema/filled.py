"""Forms: the fields that somebody filled in, checked by the schema that asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ToolError
from .given import read_schema
from .shapes import Json


def filled(schema: Mapping[str, Any], fields: Mapping[str, Any]) -> Json:
    """Return the fields, with the defaults of those that were left out.

    Slips that can mean one thing only are mended, such as ``"5"`` for a number. Raises ToolError
    for a field that is missing, unknown, of the wrong type, or none of those to choose from.
    """
    form = {"type": "object", **schema, "additionalProperties": False}
    described = {name: each for name, each in form.get("properties", {}).items() if each}
    given = {
        name: each["default"] for name, each in described.items() if each.get("default") is not None
    } | dict(fields)
    values = read_schema(form, lambda **values: values, "form").values(given)
    for name, value in values.items():
        _check_choice(name, value, described.get(name, {}))
    return values


def _check_choice(name: str, value: object, schema: Mapping[str, Any]) -> None:
    items = schema.get("items")
    for one in value if isinstance(value, list) else [value]:
        choices = _choices(items if isinstance(value, list) and items else schema)
        if choices and one not in choices:
            told = ", ".join(map(str, choices))
            raise ToolError(f"{name!r} must be one of {told}, not {one!r:.60}")


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    if "enum" in schema:
        return list(schema["enum"])
    titled = schema.get("oneOf") or schema.get("anyOf") or ()
    return [one["const"] for one in titled if "const" in one]
