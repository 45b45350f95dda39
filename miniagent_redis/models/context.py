"""For whom code of the caller's is run: what tools, instructions and model functions are told."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from .inquiry import Inquiry


@frozen
class ToolContext:
    """Whose turn it is, and which call of it.

    A parameter that is annotated with it is filled in; models are not told of it and cannot send
    it. A turn that is resumed, by another process too, runs a call again under the same ``turn_id``
    and ``call_id``: together they tell the call from all others of the session. ``call_id`` is
    empty where no tool is called: for instructions and model functions. ``data`` is a copy of the
    session's custom data as it was when the call began: change it by ``patch_session``.
    ``user_id`` is the session's owner, or None. ``inquiries`` is what the call has asked the user
    before, and was told.
    """

    session_id: str
    user_id: str | None
    turn_id: str
    call_id: str
    data: dict[str, Any] = field(factory=dict, repr=False)
    inquiries: tuple[Inquiry, ...] = field(default=(), repr=False)
