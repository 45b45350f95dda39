"""A function's parameters as members of an object, and how to call it with one."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from inspect import Parameter
from typing import Any

from attrs import frozen

from ...errors import InvalidInput, ToolError
from ..context import ToolContext, is_context
from .docstrings import read_docstring
from .objects import convert_members, object_schema, shape_of_type, with_default
from .shapes import Json, Member, Mismatch, described_as
from .slips import mended


@frozen
class Signature:
    """What a function takes.

    ``positional`` are names that cannot be passed by keyword, ``contexts`` those of a ToolContext.
    """

    members: tuple[Member, ...]
    positional: tuple[str, ...]
    contexts: tuple[str, ...] = ()

    @property
    def schema(self) -> Json:
        return object_schema(self.members)

    def ready(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: Callable[[], ToolContext],
    ) -> Callable[[], Any]:
        """Return the call of ``function`` with JSON arguments; ToolError tells what is wrong.

        It gets a copy, since they are also what the model is shown that it sent.
        """
        values = self.values(deepcopy(dict(arguments)))
        if self.contexts:
            values |= dict.fromkeys(self.contexts, context())
        for name, default in self._left_out(function, values):
            values.setdefault(name, default)
        positional = [values.pop(name) for name in self.positional]
        return partial(function, *positional, **values)

    def values(self, arguments: Json) -> Json:
        """Convert arguments, with slips that can mean one thing only; raises ToolError."""
        try:
            try:
                return convert_members(self.members, arguments, "")
            except Mismatch:
                if (meant := mended(arguments, self.schema)) == arguments:
                    raise
            return convert_members(self.members, meant, "")
        except Mismatch as found:
            raise ToolError("; ".join(found.problems)) from found

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
        all_parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as exc:
        raise InvalidInput(f"tool {tool!r} has no readable signature", cause=str(exc)) from exc
    plain, bound = (
        (function.func, function.keywords) if isinstance(function, partial) else (function, {})
    )
    parameters = [parameter for parameter in all_parameters if parameter.name not in bound]
    try:
        types = _types(plain, parameters)
    except (NameError, AttributeError, SyntaxError, TypeError) as exc:
        raise InvalidInput(
            f"a type in the signature of tool {tool!r} is unknown", cause=str(exc)
        ) from exc
    _, texts = read_docstring(inspect.getdoc(plain))
    contexts = tuple(p.name for p in parameters if _takes_context(p, types.get(p.name)))
    members = tuple(
        _member(p, types.get(p.name), tool, texts.get(p.name))
        for p in parameters
        if p.name not in contexts
    )
    positional = tuple(p.name for p in parameters if p.kind is Parameter.POSITIONAL_ONLY)
    return Signature(members, positional, contexts)


def context_parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of those parameters that are a ToolContext; other types may be unknown."""
    plain, bound = (
        (function.func, function.keywords) if isinstance(function, partial) else (function, {})
    )
    found: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in bound:
            continue
        with suppress(NameError, AttributeError, SyntaxError, TypeError):
            if _takes_context(parameter, _types(plain, [parameter]).get(parameter.name)):
                found.append(parameter.name)
    return tuple(found)


def _takes_context(parameter: Parameter, kind: object) -> bool:
    stars = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    return parameter.kind not in stars and is_context(kind)


def _types(function: Callable[..., Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the parameters' types, those too that are written as text.

    Only theirs: what a function returns is often imported for type checkers alone.
    """

    def stand_in() -> None: ...

    stand_in.__annotations__ = {
        p.name: p.annotation for p in parameters if p.annotation is not Parameter.empty
    }
    home = inspect.unwrap(function)
    if inspect.isclass(home):
        names = vars(sys.modules[home.__module__])
    else:
        home = home if hasattr(home, "__globals__") else type(home).__call__
        names = getattr(home, "__globals__", {})
    return typing.get_type_hints(stand_in, names, {}, include_extras=True)


def _member(parameter: Parameter, kind: Any, tool: str, text: str | None) -> Member:
    where = f"parameter {parameter.name!r} of tool {tool!r}"
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is Parameter.VAR_POSITIONAL else "**"
        raise InvalidInput(
            f"tool {tool!r} takes {stars}{parameter.name}",
            cause="a model must be told each argument by name",
            hint="name the parameters, or take one of type list[…] or dict[str, …]",
        )
    if parameter.annotation is Parameter.empty:
        hint = f"annotate it, for example {parameter.name}: str"
        if parameter.name in ("self", "cls"):
            hint = "register the method of an instance: tools.add(instance.method)"
        raise InvalidInput(f"{where} has no type", hint=hint)
    shape = shape_of_type(kind, where)
    if text and "description" not in shape.schema:
        shape = described_as(shape, text)
    required = parameter.default is Parameter.empty
    return Member(
        parameter.name, shape if required else with_default(shape, parameter.default), required
    )
