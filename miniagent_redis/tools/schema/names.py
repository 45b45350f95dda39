"""The names in a schema: what every vendor takes, told when a tool is registered.

Anthropic refuses each request in which one tool has a parameter of another name, by a number that
says little; all other tools cannot be used then either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import InvalidInput
from .shapes import Json

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_PLAIN = frozenset({"const", "default", "enum", "examples", "required"})  # they hold no schemas


def check_names(schema: Json, tool: str) -> None:
    """Raise InvalidInput for the name of an argument, or of a field in one, that is refused."""
    for name in _names(schema):
        if not _NAME.fullmatch(name):
            raise InvalidInput(
                f"tool {tool!r} has an argument or a field named {name!r:.100}",
                cause="models take up to 64 of the characters A-Z a-z 0-9 _ . -",
                hint="give it another name in the function, the class or the schema",
            )


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for one in schema:
            yield from _names(one)
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            for name, inner in value.items():
                yield str(name)
                yield from _names(inner)
        elif key not in _PLAIN:
            yield from _names(value)
