"""One way to write the arguments of a call, so that equal calls can be told by their text."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from .schema.given import GivenSchema
from .schema.plain import converter
from .schema.shapes import Mismatch
from .schema.signature import Signature
from .tool import Tool


def canonical_json(value: object) -> str:
    """Write JSON in one way: members sorted, no spaces. Sets become sorted lists.

    Raises TypeError for what JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_sorted)


def canonical_arguments(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Write what the tool's function is given: 5 is 5.0 where a number is taken, defaults count.

    What a partial binds is given to it too; that which has no JSON goes by the name of its type.
    Raises ToolError if the arguments do not fit.
    """
    if isinstance(tool.signature, GivenSchema):  # whose function sees them by their names
        written = canonical_json(tool.signature.values(arguments))
    else:
        written = _converted(tool, tool.signature, arguments)
    if isinstance(tool.function, partial):
        named = [(name, _bound(value)) for name, value in tool.function.keywords.items()]
        return canonical_json([written, [*map(_bound, tool.function.args)], sorted(named)])
    return written


def _converted(tool: Tool, signature: Signature, arguments: Mapping[str, Any]) -> str:
    values = signature.values(dict(arguments))
    parameters = inspect.signature(tool.function).parameters
    for member in signature.members:
        if member.name not in values:
            default = parameters[member.name].default
            try:
                values[member.name] = member.shape.convert(default, "")
            except Mismatch:  # one that no model could send, such as a member of an Enum
                values[member.name] = default
    try:
        return canonical_json(converter.unstructure(values))
    except Exception:
        # A class of the caller's made something of them that has no JSON. Then as they were sent.
        return canonical_json(dict(arguments))


def _bound(value: object) -> str:
    try:
        return canonical_json(converter.unstructure(value))
    except Exception:
        return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _sorted(value: object) -> list[Any]:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=canonical_json)
    raise TypeError(f"{type(value).__name__} has no canonical form")
