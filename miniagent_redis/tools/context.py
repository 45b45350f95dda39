"""Which parameters of a function are a ToolContext: they are filled in, and no model's to send."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Union, get_args, get_origin

from ..models import ToolContext

__all__ = ["ToolContext", "is_context", "nobodys_context"]


def nobodys_context() -> ToolContext:
    """Return the context of a call that no turn makes."""
    return ToolContext("", None, "", "")


def is_context(kind: object) -> bool:
    """Whether a parameter of this type is to be filled in."""
    origin = get_origin(kind)
    if origin is Annotated:
        return is_context(get_args(kind)[0])
    if origin in (Union, UnionType):
        return any(is_context(one) for one in get_args(kind))
    return kind is ToolContext
