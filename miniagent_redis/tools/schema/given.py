"""A tool's own JSON schema: taken as it is, checked as far as that is simple.

What a call is checked for: that nothing required is missing, that the arguments have their types,
and that none is unknown where the schema allows no more. Before that, slips that can mean one thing
only are mended. What lies deeper (formats, limits, members of objects) is left to whoever wrote the
schema and runs the tool.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, cast

from attrs import frozen

from ...errors import InvalidInput, ToolError
from ..context import ToolContext
from .objects import convert_members
from .shapes import Json, Member, Mismatch, Shape, mismatch
from .signature import context_parameters
from .slips import LABELS, is_of, kinds_of, mended


@frozen
class GivenSchema:
    """A schema that somebody wrote, and how a function is called with what it describes.

    ``by_name``: the function takes the arguments as keywords, else all of them as one dict.
    ``is_closed``: there are no arguments but those the schema names. ``contexts`` are parameters of
    a ToolContext, ``ours`` are they and what a partial binds: no model may send them.
    """

    schema: Json
    members: tuple[Member, ...]
    by_name: bool
    is_closed: bool
    contexts: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()

    def ready(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        context: Callable[[], ToolContext],
    ) -> Callable[[], Any]:
        """Return the call with a copy of the arguments; ToolError tells why they do not fit."""
        values = self.values(arguments)
        filled = dict.fromkeys(self.contexts, context()) if self.contexts else {}
        if self.by_name:
            return partial(function, **values, **filled)
        return partial(function, values, **filled)

    def values(self, arguments: Mapping[str, Any]) -> Json:
        """Return a copy of the arguments; raises ToolError, with all problems, if they misfit."""
        values: Json = mended(deepcopy(dict(arguments)), self.schema)
        told = {member.name for member in self.members} | self.ours
        known = {name: value for name, value in values.items() if self.is_closed or name in told}
        try:
            convert_members(self.members, known, "")
        except Mismatch as found:
            raise ToolError("; ".join(found.problems)) from found
        return values


def read_schema(schema: object, function: Callable[..., Any], tool: str) -> GivenSchema:
    """Read what ``function`` is to be given; raises InvalidInput for what is no schema of that."""
    plain = _plain(schema, tool)
    properties = plain.get("properties", {})
    required = plain.get("required", [])
    if not isinstance(properties, dict) or not (
        isinstance(required, list) and all(isinstance(name, str) for name in required)
    ):
        raise InvalidInput(
            f"the schema of tool {tool!r} is none",
            cause="properties must be an object, and required a list of names",
        )
    # A name may be required without being described: then any value will do.
    names = dict.fromkeys([*properties, *required])
    members = tuple(
        Member(name, _shape(properties.get(name, {})), name in required) for name in names
    )
    contexts, by_name, takes_more = _way_to_call(function, list(names), tool)
    is_closed = not takes_more or (
        plain.get("additionalProperties") is False and not plain.get("patternProperties")
    )
    if not by_name:
        return GivenSchema(plain, members, by_name, is_closed, contexts)
    ours = {*contexts, *(function.keywords if isinstance(function, partial) else ())}
    if taken := sorted(ours & names.keys()):
        raise InvalidInput(
            f"the function of tool {tool!r} has {', '.join(taken)} from elsewhere, but its schema "
            "has it too",
            hint="leave it out of one of them",
        )
    return GivenSchema(plain, members, by_name, is_closed, contexts, frozenset(ours))


def _plain(schema: object, tool: str) -> Json:
    """Return a copy of the schema that nobody else can change."""
    cause = ""
    try:
        given = dict(schema) if isinstance(schema, Mapping) else schema
        plain = json.loads(json.dumps(given, allow_nan=False))
        if isinstance(plain, dict) and plain.get("type") == "object":
            return cast(Json, plain)
    except (TypeError, ValueError, RecursionError) as exc:
        cause = str(exc)
    raise InvalidInput(
        f"the parameters of tool {tool!r} must be a JSON schema of an object, not {schema!r:.100}",
        cause=cause,
        hint='without any they are {"type": "object", "properties": {}}',
    )


def _way_to_call(
    function: Callable[..., Any], names: list[str], tool: str
) -> tuple[tuple[str, ...], bool, bool]:
    """Return its contexts, whether it takes arguments by name, and whether any others too."""
    try:
        signature = inspect.signature(function)
        contexts = context_parameters(function)
    except (TypeError, ValueError) as exc:
        raise InvalidInput(f"tool {tool!r} has no readable signature", cause=str(exc)) from exc
    parameters = signature.parameters.values()
    if _fits(signature, **dict.fromkeys([*names, *contexts])):
        return contexts, True, any(each.kind is each.VAR_KEYWORD for each in parameters)
    first = next(iter(signature.parameters), "")
    if first not in names and _fits(signature, {}, **dict.fromkeys(contexts)):
        return contexts, False, True
    raise InvalidInput(
        f"the function of tool {tool!r} does not take what its schema describes",
        cause=f"the arguments are {', '.join(names) or 'none'}; the function has {signature}",
        hint="take them by name, as **arguments, or as one dict",
    )


def _fits(signature: inspect.Signature, *positional: object, **named: object) -> bool:
    try:
        signature.bind(*positional, **named)
    except TypeError:
        return False
    return True


def _shape(schema: object) -> Shape:
    """Return the shape of one argument. Only ``type`` is heard, and only if all of it is known."""
    described: Json = schema if isinstance(schema, dict) else {}
    kinds = kinds_of(described)
    if kinds is None:
        return Shape(described, "any value", lambda value, path: value)
    label = " or ".join(LABELS[one] for one in kinds)

    def check(value: Any, path: str) -> Any:
        if not any(is_of(value, one) for one in kinds):
            raise mismatch(path, label, value)
        return value

    return Shape(described, label, check)
