"""For whom a tool is run: what a function gets that has a parameter of the type ToolContext."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from attrs import field, frozen


@frozen
class ToolContext:
    """Whose turn it is, and which call of it.

    A parameter that is annotated with it is filled in; models are not told of it and cannot send
    it. A turn that is resumed, by another process too, runs a call again under the same ``turn_id``
    and ``call_id``: together they tell the call from all others of the session. ``data`` is a copy
    of the session's custom data as it was when the call began: change it by ``patch_session``.
    ``user_id`` is the session's owner, or None.
    """

    session_id: str
    user_id: str | None
    turn_id: str
    call_id: str
    data: dict[str, Any] = field(factory=dict, repr=False)


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
