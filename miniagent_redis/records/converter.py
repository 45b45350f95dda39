"""The converter between stored data and attrs classes, wherever no other code does it by hand.

Messages have code of their own, in messages.py: it is several times as fast, and threads are long.
"""

from __future__ import annotations

from typing import Any

from cattrs import Converter

from ..models import ToolCall
from .messages import tool_call_from_data, tool_call_to_data

converter: Converter = Converter(detailed_validation=False, omit_if_default=True)
"""Leaves out what has its default, and passes over members that it does not know."""


def _is_object(kind: object) -> bool:
    return kind == dict[str, Any]


def _as_object(value: Any, _: object) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {type(value).__name__}")
    return value  # pyright: ignore[reportUnknownVariableType]


def _as_it_is(value: Any) -> Any:
    return value


# What JSON already gives in the right shape passes through untouched, both ways: cattrs would turn
# attrs objects and enums inside into something that does not come back, and follow cycles.
converter.register_structure_hook_func(_is_object, _as_object)
converter.register_unstructure_hook_func(_is_object, _as_it_is)
converter.register_structure_hook(ToolCall, lambda data, _: tool_call_from_data(data))
converter.register_unstructure_hook(ToolCall, tool_call_to_data)
