"""A turn that waits for somebody: for which of its calls, and what they may be answered with."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

from attrs import field, frozen

from .message import ToolCall

WaitsFor = Literal["approval", "result", "input"]
ANSWERED = "answered"
"""In a result's metadata, if its call was answered while the turn was parked: ``waits_for``, and
what was noted with the answer."""


@frozen
class Question:
    """What a tool wants to know from the user before it goes on.

    ``message`` is for people. ``schema`` is the JSON schema of an object that has the fields of the
    answer. With a ``url`` the user is to do something there, and nothing is to be filled in.
    """

    message: str
    schema: dict[str, Any] = field(factory=dict)
    url: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return ``message``, and ``schema`` or ``url``."""
        how = {"url": self.url} if self.url else {"schema": deepcopy(self.schema)}
        return {"message": self.message, **how}


@frozen
class WaitingCall:
    """A call that somebody has to answer.

    ``waits_for`` is "approval": our own tool, which runs once it is approved; "result": a tool
    that was only declared, which somebody else runs; or "input": a tool that has begun, and goes on
    when its ``question`` is answered.
    """

    id: str
    name: str
    arguments: dict[str, Any] = field(factory=dict)
    waits_for: WaitsFor = "result"
    question: Question | None = None

    @classmethod
    def of(
        cls, call: ToolCall, waits_for: WaitsFor, question: Question | None = None
    ) -> WaitingCall:
        """Return what is told of a call; whoever hears of it cannot change the arguments."""
        return cls(call.id, call.name, deepcopy(call.arguments), waits_for, question)

    def to_dict(self) -> dict[str, Any]:
        """Return ``id name arguments waits_for``, and the ``question`` of "input"."""
        told = {
            "id": self.id,
            "name": self.name,
            "arguments": deepcopy(self.arguments),
            "waits_for": self.waits_for,
        }
        return told if self.question is None else {**told, "question": self.question.to_dict()}


@frozen
class Approve:
    """The answer to a call that waits for approval: run it, with the arguments that were shown.

    To one that waits for input: yes, with nothing to fill in, or with the defaults.
    """


@frozen
class Deny:
    """The answer to any call that waits: it is not run, and the model is told so, and ``why``."""

    why: str = ""
