"""A turn that waits for somebody: for which of its calls, and what they may be answered with."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

from attrs import field, frozen

from .message import ToolCall

WaitsFor = Literal["approval", "result"]
ANSWERED = "answered"
"""In a result's metadata, if its call was answered while the turn was parked: ``waits_for``, and
what was noted with the answer."""


@frozen
class WaitingCall:
    """A call that somebody has to answer.

    ``waits_for`` is "approval": our own tool, which runs once it is approved; or "result": a tool
    that was only declared, which somebody else runs.
    """

    id: str
    name: str
    arguments: dict[str, Any] = field(factory=dict)
    waits_for: WaitsFor = "result"

    @classmethod
    def of(cls, call: ToolCall, waits_for: WaitsFor) -> WaitingCall:
        """Return what is told of a call; whoever hears of it cannot change the arguments."""
        return cls(call.id, call.name, deepcopy(call.arguments), waits_for)

    def to_dict(self) -> dict[str, Any]:
        """Return ``id name arguments waits_for``."""
        return {
            "id": self.id,
            "name": self.name,
            "arguments": deepcopy(self.arguments),
            "waits_for": self.waits_for,
        }


@frozen
class Approve:
    """The answer to a call that waits for approval: run it, with the arguments that were shown."""


@frozen
class Deny:
    """The answer to any call that waits: it is not run, and the model is told so, and ``why``."""

    why: str = ""
