"""A function's parameters as members of an object, and how to call it with one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter
from typing import Any

from attrs import frozen

from ..errors import InvalidInput, ToolError
from .docstrings import read_docstring
from .objects import convert_members, object_schema, shape_of_type, with_default
from .shapes import Json, Member, Mismatch, described_as


@frozen
class Signature:
    """What a function takes. ``positional`` are names that cannot be passed by keyword."""

    members: tuple[Member, ...]
    positional: tuple[str, ...]
    description: str

    @property
    def schema(self) -> Json:
        return object_schema(self.members)

    def call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
        """Call ``function`` with JSON arguments; ToolError tells what is wrong with them."""
        try:
            values = convert_members(self.members, arguments, "")
        except Mismatch as found:
            raise ToolError("; ".join(found.problems)) from found
        for name, default in self._left_out(function, values):
            values.setdefault(name, default)
        positional = [values.pop(name) for name in self.positional]
        return function(*positional, **values)

    def _left_out(self, function: Callable[..., Any], values: Json) -> list[tuple[str, Any]]:
        """Positional parameters cannot be skipped, so their defaults are passed."""
        missing = [name for name in self.positional if name not in values]
        if not missing:
            return []
        parameters = inspect.signature(function).parameters
        return [(name, parameters[name].default) for name in missing]


def read_signature(function: Callable[..., Any], tool: str) -> Signature:
    """Describe what ``function`` takes; raises InvalidInput for what no model could pass."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters.values()
    except (NameError, AttributeError) as exc:
        raise InvalidInput(
            f"a type in the signature of tool {tool!r} is unknown", cause=str(exc)
        ) from exc
    except (TypeError, ValueError) as exc:
        raise InvalidInput(f"tool {tool!r} has no readable signature", cause=str(exc)) from exc
    described = function.func if isinstance(function, partial) else function  # not partial's own
    description, texts = read_docstring(inspect.getdoc(described))
    members = tuple(_member(parameter, tool, texts.get(parameter.name)) for parameter in parameters)
    positional = tuple(p.name for p in parameters if p.kind is Parameter.POSITIONAL_ONLY)
    return Signature(members, positional, description)


def _member(parameter: Parameter, tool: str, text: str | None) -> Member:
    where = f"parameter {parameter.name!r} of tool {tool!r}"
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is Parameter.VAR_POSITIONAL else "**"
        raise InvalidInput(
            f"tool {tool!r} takes {stars}{parameter.name}",
            cause="a model must be told each argument by name",
            hint="name the parameters, or take one of type list[…] or dict[str, …]",
        )
    if parameter.annotation is Parameter.empty:
        raise InvalidInput(
            f"{where} has no type", hint=f"annotate it, for example {parameter.name}: str"
        )
    shape = shape_of_type(parameter.annotation, where)
    if text and "description" not in shape.schema:
        shape = described_as(shape, text)
    required = parameter.default is Parameter.empty
    return Member(
        parameter.name, shape if required else with_default(shape, parameter.default), required
    )
