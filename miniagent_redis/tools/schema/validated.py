"""Classes that know their own JSON schema and check what they are made from, as pydantic's do.

Known by what they can do, so nothing of pydantic is imported here.
"""

from __future__ import annotations

import json
from typing import Any

from ...errors import InvalidInput
from .shapes import Json, Mismatch, Shape

_DEFINITIONS = "#/$defs/"


def is_validated(cls: type) -> bool:
    """Whether the class tells its schema and makes instances of JSON."""
    return callable(getattr(cls, "model_json_schema", None)) and callable(
        getattr(cls, "model_validate", None)
    )


def validated_shape(cls: Any, where: str) -> Shape:
    """Return the shape of such a class: its schema in one piece, and its own check."""
    try:
        schema: Json = cls.model_json_schema()
    except Exception as exc:  # of a library that is not ours, for a type that has no schema
        raise InvalidInput(f"{where}: {cls.__name__} has no JSON schema", cause=str(exc)) from exc
    definitions = schema.get("$defs", {})
    whole = {name: value for name, value in schema.items() if name != "$defs"}
    name = cls.__name__

    def convert(value: Any, path: str) -> Any:
        try:
            if hasattr(cls, "model_validate_json"):  # which takes what JSON has for dates and sets
                return cls.model_validate_json(json.dumps(value))
            return cls.model_validate(value)
        except Exception as exc:
            raise Mismatch(*_problems(exc, path)) from exc

    inlined: Json = _inlined(whole, definitions, (), f"{where}: {name}")
    return Shape(inlined, f"an object ({', '.join(inlined.get('properties', {}))})", convert)


def _inlined(part: Any, definitions: Json, inside: tuple[str, ...], what: str) -> Any:
    """Return the schema with what it refers to in place: it may become part of another one."""
    if isinstance(part, list):
        return [_inlined(one, definitions, inside, what) for one in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref")
    if not isinstance(reference, str):
        return {name: _inlined(one, definitions, inside, what) for name, one in part.items()}
    name = reference.removeprefix(_DEFINITIONS)
    if name in inside or name not in definitions:
        raise InvalidInput(f"{what} contains itself, which cannot be described")
    beside = {key: value for key, value in part.items() if key != "$ref"}
    return _inlined(definitions[name], definitions, (*inside, name), what) | beside


def _problems(error: Exception, path: str) -> list[str]:
    """Return what is wrong, member by member where the error tells that."""
    try:
        found: list[Any] = error.errors()  # type: ignore[attr-defined]
        told = [(".".join([path, *map(str, one["loc"])]), one["msg"]) for one in found]
    except Exception:
        told = [(path, error)]
    return [f"argument {place!r} is not usable: {text}" for place, text in told] or [str(error)]
