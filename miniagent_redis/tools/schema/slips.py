"""Slips of models in their arguments that can mean one thing only, and what they mean.

A number, a truth value, null, a list or an object that was written as text; a whole number where
text is wanted; 5.0 where a whole number is; null for what may be left out. It is the schema that
tells, so it is the same for tools of functions and for those with a schema of their own. What fits
the schema as it is stays so, and what may mean two things ("yes", "1,000", 1 for true) is left to
be refused: a model that is told so sends again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = dict[str, Any]
_NOTHING: Final = object()
_EXACT = 2**53  # whole numbers above it, as floats, are no longer what was meant
_WORDS = {"true": True, "false": False}


def mended(value: Any, schema: object) -> Any:
    """Return the value as the schema wants it if it plainly means that, else as it is."""
    described: Json = schema if isinstance(schema, dict) else {}
    options = described.get("anyOf")
    if isinstance(options, list):
        return _mended_for_one(value, options)
    choices = described.get("enum")
    if isinstance(choices, list):
        return next((each for each in _readings(value, choices) if _is_among(each, choices)), value)
    kinds = kinds_of(described)
    if kinds is None:
        return value
    value = _of_kind(value, kinds, described)
    if isinstance(value, list):
        return [mended(item, part) for item, part in zip(value, _places(described), strict=False)]
    if isinstance(value, dict):
        return _mended_members(value, described)
    return value


def kinds_of(schema: Mapping[str, Any]) -> list[str] | None:
    """Return the names of the types that the schema allows; None if it says none that is known."""
    told: Any = schema.get("type")
    kinds: list[Any] = told if isinstance(told, list) else [told]
    if not all(isinstance(one, str) and one in LABELS for one in kinds):
        return None
    return [*kinds, "null"] if schema.get("nullable") is True else kinds  # as OpenAPI says it


LABELS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
"""What each type of JSON schema is called in messages."""


def is_of(value: object, kind: str) -> bool:
    """Whether a JSON value is of a kind. As in JSON Schema 5.0 is whole, and true is no number."""
    match value:
        case None:
            return kind == "null"
        case bool():
            return kind == "boolean"
        case int():
            return kind in ("integer", "number")
        case float():
            return kind == "number" or (kind == "integer" and value.is_integer())
        case str():
            return kind == "string"
        case list() | tuple():
            return kind == "array"
        case _:
            return kind == "object"


def _of_kind(value: Any, kinds: list[str], schema: Json) -> Any:
    """Return what the value means, without looking into lists and objects."""
    if isinstance(value, float) and "integer" in kinds and "number" not in kinds:
        return int(value) if value.is_integer() and abs(value) <= _EXACT else value
    if any(is_of(value, kind) for kind in kinds):
        return value
    if type(value) is int and "string" in kinds and "format" not in schema:
        return str(value)
    if isinstance(value, str):
        if "boolean" in kinds and value.strip().lower() in _WORDS:  # Python's True among them
            return _WORDS[value.strip().lower()]
        read = _read(value)
        if read is not _NOTHING and any(is_of(read, kind) for kind in kinds):
            return _of_kind(read, kinds, schema)
    return value


def _mended_members(values: Json, schema: Json) -> Json:
    """Return the object with its members mended, without a null for what may be left out."""
    known, required = schema.get("properties"), schema.get("required")
    known = known if isinstance(known, dict) else {}
    required = required if isinstance(required, list) else []
    found: Json = {}
    for name, value in values.items():
        part = known.get(name, schema.get("additionalProperties"))
        if value is None and name in known and name not in required and not fits(None, part):
            continue
        found[name] = mended(value, part)
    return found


def _mended_for_one(value: Any, options: list[Any]) -> Any:
    """Return the value for the first option that it fits, or else that it can be mended for."""
    if any(fits(value, option) for option in options):
        return value
    for option in options:
        candidate = mended(value, option)
        if fits(candidate, option):
            return candidate
    return value


def fits(value: Any, schema: object) -> bool:
    """Whether the value is what the schema says, as far as types and choices go."""
    described: Json = schema if isinstance(schema, dict) else {}
    options, choices = described.get("anyOf"), described.get("enum")
    if isinstance(options, list):
        return any(fits(value, option) for option in options)
    if isinstance(choices, list):
        return _is_among(value, choices)
    kinds = kinds_of(described)
    if kinds is None:
        return True
    if not any(is_of(value, kind) for kind in kinds):
        return False
    if isinstance(value, list):
        return all(map(fits, value, _places(described)))
    if isinstance(value, dict):
        known, required = described.get("properties"), described.get("required")
        known = known if isinstance(known, dict) else {}
        more = described.get("additionalProperties")
        if more is False and not value.keys() <= known.keys():
            return False
        return set(required or ()) <= value.keys() and all(
            fits(item, known.get(name, more)) for name, item in value.items()
        )
    return True


def _places(schema: Json) -> Iterator[object]:
    """Yield the schema of each place of a list, without end."""
    first = schema.get("prefixItems")
    yield from first if isinstance(first, list) else ()
    while True:
        yield schema.get("items")


def _readings(value: Any, choices: list[Any]) -> Iterator[Any]:
    """Yield what a value may mean that should be one of some choices."""
    yield value
    if type(value) is int:
        yield str(value)
    if isinstance(value, str):
        if (word := value.strip().lower()) in _WORDS:
            yield _WORDS[word]
        yield _read(value)


def _is_among(value: Any, choices: list[Any]) -> bool:
    """Whether it is one of them. In JSON 1 is 1.0, but other than in Python it is not true."""
    return any((type(each) is bool) == (type(value) is bool) and each == value for each in choices)


def _read(text: str) -> Any:
    """Return the JSON that the text is, or what is nothing at all."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NOTHING


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
