"""Objects with named members: classes with fields, and the parameters of a function."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NotRequired, Required, get_origin

import attrs

from ...errors import InvalidInput
from .plain import converter
from .shapes import Json, Member, Mismatch, Shape, mismatch, shape_of
from .validated import is_validated, validated_shape


def object_schema(members: Sequence[Member]) -> Json:
    """Return the JSON schema of an object with these members and no others."""
    return {
        "type": "object",
        "properties": {member.name: member.shape.schema for member in members},
        "required": [member.name for member in members if member.required],
        "additionalProperties": False,
    }


def convert_members(members: Sequence[Member], values: Mapping[str, Any], at: str) -> Json:
    """Convert those values that are there; raises Mismatch naming all problems at once.

    ``at`` goes before a member's name in messages.
    """
    converted: Json = {}
    problems: list[str] = []
    for member in members:
        path = at + member.name
        if member.name in values:
            try:
                converted[member.name] = member.shape.convert(values[member.name], path)
            except Mismatch as found:
                problems.extend(found.problems)
        elif member.required:
            problems.append(f"argument {path!r} is missing; expected {member.shape.label}")
    names = [member.name for member in members]
    for name in values:
        if name not in names:
            known = ", ".join(at + one for one in names) or "none"
            problems.append(f"there is no argument {at + name!r}; the arguments are: {known}")
    if problems:
        raise Mismatch(*problems)
    return converted


def with_default(shape: Shape, default: object) -> Shape:
    """Tell the model what it gets if it leaves the member out, if that is what it could send."""
    if default is None:
        return shape
    try:
        plain = float(default) if isinstance(default, Decimal) else converter.unstructure(default)
        plain = json.loads(json.dumps(plain, allow_nan=False))
        shape.convert(plain, "")
    except (TypeError, ValueError):
        return shape
    return attrs.evolve(shape, schema={**shape.schema, "default": plain})


def shape_of_type(kind: Any, where: str) -> Shape:
    """Return the shape of any type that can be sent, classes with fields included."""
    return _shape_of(kind, where, ())


def _shape_of(kind: Any, where: str, inside: tuple[type, ...]) -> Shape:
    def classes(cls: type, place: str) -> Shape | None:
        return _class_shape(cls, place, inside)

    return shape_of(kind, where, classes)


def _class_shape(cls: type, where: str, inside: tuple[type, ...]) -> Shape | None:
    if is_validated(cls):
        return validated_shape(cls, where)
    if not (attrs.has(cls) or dataclasses.is_dataclass(cls) or _is_typed_dict(cls)):
        return None
    if cls in inside:
        raise InvalidInput(f"{where}: {cls.__name__} contains itself, which cannot be described")
    members: list[Member] = []
    for name, kind, default in _fields(cls, where):
        shape = _shape_of(kind, f"{where}, field {name!r} of {cls.__name__},", (*inside, cls))
        required = default is attrs.NOTHING
        members.append(Member(name, shape if required else with_default(shape, default), required))
    label = f"an object ({', '.join(member.name for member in members)})"

    def convert(value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            raise mismatch(path, label, value)
        values = convert_members(members, value, f"{path}.")
        try:
            return cls(**values)
        except Exception as exc:  # a validator or converter of the class
            raise Mismatch(f"argument {path!r} is not usable: {exc}") from exc

    return Shape(object_schema(members), label, convert)


def _fields(cls: type, where: str) -> list[tuple[str, Any, object]]:
    """Return name, type and default of what the class is made from; None for any factory."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as exc:
        raise InvalidInput(f"{where}: a type in {cls.__name__} is unknown", cause=str(exc)) from exc
    if _is_typed_dict(cls):
        return [(name, kind, _typed_dict_default(cls, name, kind)) for name, kind in hints.items()]
    if attrs.has(cls):
        return [
            (
                field.alias or field.name,
                hints.get(field.name, Any),
                None if isinstance(field.default, attrs.Factory) else field.default,  # type: ignore[arg-type]
            )
            for field in attrs.fields(cls)
            if field.init
        ]
    found: list[tuple[str, Any, object]] = []
    for plain in dataclasses.fields(cls):
        if plain.init:
            made = plain.default_factory is not dataclasses.MISSING
            default = attrs.NOTHING if plain.default is dataclasses.MISSING else plain.default
            found.append((plain.name, hints.get(plain.name, Any), None if made else default))
    return found


def _is_typed_dict(cls: type) -> bool:
    return hasattr(cls, "__required_keys__")  # that of typing_extensions is a class of its own


def _typed_dict_default(cls: Any, name: str, kind: Any) -> object:
    # Where annotations are text, the class itself does not see the marks on its members.
    marked = get_origin(kind)
    required = name in cls.__required_keys__ and marked is not NotRequired
    return attrs.NOTHING if required or marked is Required else None
