"""From a Python type to its shape: the JSON schema for the model, and the check of what it sends.

Both come out of one walk over the type, so what is promised and what is accepted cannot differ.
Nothing is guessed here: "3" is no number and 1 is no truth value. What models mean by such slips,
if that is plain, is in slips.py; of everything else they are told, and send again.
"""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
)
from uuid import UUID

from attrs import evolve, frozen

from ...errors import InvalidInput

Json = dict[str, Any]


class Mismatch(ValueError):
    """Arguments do not fit. ``problems`` are sentences that a model can act on."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@frozen
class Shape:
    """One type. ``label`` names it in messages; ``convert`` takes a JSON value and its path."""

    schema: Json
    label: str
    convert: Callable[[Any, str], Any]


@frozen
class Member:
    """A named part of an object: a parameter of a tool, or a field of a class."""

    name: str
    shape: Shape
    required: bool


def described_as(shape: Shape, text: str) -> Shape:
    """Return the shape with a description in its schema."""
    return evolve(shape, schema={**shape.schema, "description": text})


def _exactly(label: str, schema: Json, *kinds: type) -> Shape:
    def convert(value: Any, path: str) -> Any:
        if type(value) in kinds:
            return value
        raise mismatch(path, label, value)

    return Shape(schema, label, convert)


def mismatch(path: str, label: str, value: object) -> Mismatch:
    """Say that the argument at ``path`` is not what ``label`` names."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return Mismatch(f"argument {path!r} must be {label}, not {shown}")


def _whole_number(value: Any, path: str) -> int:
    if type(value) is int or (type(value) is float and value.is_integer()):
        return int(value)
    raise mismatch(path, "a whole number", value)


def _number(value: Any, path: str) -> float:
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise mismatch(path, "a number", value)


def _decimal(value: Any, path: str) -> Decimal:
    if type(value) is int:
        return Decimal(value)
    if type(value) is float and math.isfinite(value):
        return Decimal(str(value))  # 0.1, and not what it is in binary
    raise mismatch(path, "a number", value)


def _written(label: str, form: str, read: Callable[[str], Any]) -> Shape:
    """Read what JSON has as text of a certain form."""

    def convert(value: Any, path: str) -> Any:
        try:
            if isinstance(value, str):
                return read(value)
        except ValueError:
            pass
        raise mismatch(path, label, value)

    return Shape({"type": "string", "format": form}, label, convert)


_SIMPLE: dict[object, Shape] = {
    Any: Shape({}, "any value", lambda value, path: value),
    object: Shape({}, "any value", lambda value, path: value),
    str: _exactly("text", {"type": "string"}, str),
    bool: _exactly("true or false", {"type": "boolean"}, bool),
    int: Shape({"type": "integer"}, "a whole number", _whole_number),
    float: Shape({"type": "number"}, "a number", _number),
    Decimal: Shape({"type": "number"}, "a number", _decimal),
    date: _written("a date such as 2026-01-31", "date", date.fromisoformat),
    time: _written("a time such as 14:30:00", "time", time.fromisoformat),
    datetime: _written(
        "a date and time such as 2026-01-31T14:30:00Z", "date-time", datetime.fromisoformat
    ),
    UUID: _written("a UUID", "uuid", UUID),
    None: _exactly("null", {"type": "null"}, type(None)),
    type(None): _exactly("null", {"type": "null"}, type(None)),
    dict: _exactly("an object", {"type": "object"}, dict),
    Mapping: _exactly("an object", {"type": "object"}, dict),
}
_LISTS: dict[object, Callable[[list[Any]], Any]] = {
    list: list, Sequence: list, Collection: list, Iterable: list, set: set, frozenset: frozenset
}  # fmt: skip


def shape_of(kind: Any, where: str, classes: Callable[[type, str], Shape | None]) -> Shape:
    """Return the shape of a type; ``where`` names the place of it in error messages.

    ``classes`` gives the shape of a class with fields, or None. Raises InvalidInput for a type
    that a model cannot send.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin is not None and not args:  # typing.List and the like, alone
        return shape_of(origin, where, classes)
    if origin is Annotated:
        inner = shape_of(args[0], where, classes)
        described = next((text for text in args[1:] if isinstance(text, str)), None)
        return described_as(inner, described) if described else inner
    if origin in (Required, NotRequired):
        return shape_of(args[0], where, classes)
    if origin is Literal:
        return _choice(args, {value: value for value in args}, where)
    if origin in (Union, types.UnionType):
        return _union([shape_of(arg, where, classes) for arg in args])
    if origin in _LISTS:
        return _list(shape_of(args[0], where, classes), _LISTS[origin])
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return _list(shape_of(args[0], where, classes), tuple)
        return _tuple([shape_of(arg, where, classes) for arg in args])
    if origin in (dict, Mapping) and args[0] is str:
        return _dict(shape_of(args[1], where, classes))
    if isinstance(kind, NewType):
        return shape_of(kind.__supertype__, where, classes)
    if isinstance(kind, type):
        if kind in _SIMPLE:
            return _SIMPLE[kind]
        if kind is tuple or kind in _LISTS:
            return _list(_SIMPLE[Any], _LISTS.get(kind, tuple))
        if issubclass(kind, Enum):
            return _choice([m.value for m in kind], {m.value: m for m in kind}, where)
        if (found := classes(kind, where)) is not None:
            return found
    elif kind is None or kind is Any:
        return _SIMPLE[kind]
    raise InvalidInput(
        f"{where} has the type {inspect.formatannotation(kind)}, which a model cannot send",
        hint="use str, int, float, bool, Decimal, date, datetime, time, UUID, Literal, Enum, list, "
        "tuple, dict[str, …], unions of these, or an attrs class, dataclass, TypedDict or pydantic "
        "model of these",
    )


def _choice(options: Sequence[Any], results: Mapping[Any, Any], where: str) -> Shape:
    """One of some plain values. In JSON 1 is 1.0, but other than in Python it is not true."""
    if not all(type(option) in (str, int, float, bool, type(None)) for option in options):
        raise InvalidInput(f"{where} offers a choice of values that JSON does not have")
    by_value = {(type(option) is bool, option): results[option] for option in options}
    label = "one of " + ", ".join(json.dumps(o, ensure_ascii=False) for o in options)
    schema: Json = {"enum": list(options)}
    if all(isinstance(option, str) for option in options):
        schema["type"] = "string"

    def convert(value: Any, path: str) -> Any:
        try:
            return by_value[type(value) is bool, value]
        except (KeyError, TypeError):
            raise mismatch(path, label, value) from None

    return Shape(schema, label, convert)


def _union(options: Sequence[Shape]) -> Shape:
    label = " or ".join(dict.fromkeys(option.label for option in options))

    def convert(value: Any, path: str) -> Any:
        reasons: list[Mismatch] = []
        for option in options:
            try:
                return option.convert(value, path)
            except Mismatch as reason:
                reasons.append(reason)
        # What is wrong deep inside one option says more than that no option fits.
        telling = [r for r in reasons if not r.problems[0].startswith(f"argument {path!r} must")]
        raise telling[0] if len(telling) == 1 else mismatch(path, label, value)

    return Shape({"anyOf": [option.schema for option in options]}, label, convert)


def _list(item: Shape, build: Callable[[list[Any]], Any]) -> Shape:
    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            raise mismatch(path, label, value)
        return build([item.convert(one, f"{path}[{i}]") for i, one in enumerate(value)])

    label = f"a list ({item.label} each)" if item.schema else "a list"
    return Shape({"type": "array", "items": item.schema}, label, convert)


def _tuple(items: Sequence[Shape]) -> Shape:
    label = f"a list of {len(items)} ({', '.join(item.label for item in items)})"

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, list) or len(value) != len(items):
            raise mismatch(path, label, value)
        pairs = enumerate(zip(items, value, strict=True))
        return tuple(item.convert(one, f"{path}[{i}]") for i, (item, one) in pairs)

    schemas = [item.schema for item in items]
    schema: Json = {"type": "array", "prefixItems": schemas}
    # Vendors that do not know prefixItems refuse an array without items; for the others these
    # would describe what comes behind, and nothing may.
    schema["items"] = schemas[0] if all(s == schemas[0] for s in schemas) else {"anyOf": schemas}
    return Shape({**schema, "minItems": len(items), "maxItems": len(items)}, label, convert)


def _dict(item: Shape) -> Shape:
    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise mismatch(path, label, value)
        return {name: item.convert(one, f"{path}.{name}") for name, one in value.items()}

    label = f"an object ({item.label} each)" if item.schema else "an object"
    return Shape({"type": "object", "additionalProperties": item.schema}, label, convert)
