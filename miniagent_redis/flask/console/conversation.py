"""A history as people read it: turns, steps with time and tokens, calls with their results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from ...llm.providers.parts import WEB_IMAGES, Media, content_parts
from ...models import Usage, WaitingCall
from ...models.inquiry import tells_of_inquiry
from ...models.message import content_text, readable
from .words import seconds_of

AS_STORED = "as stored"
"""The role of a record that cannot be read: its content is what is stored, ``why`` the reason."""


@define
class Call:
    """A call of a tool, and what came of it, if anything has."""

    id: str
    name: str
    arguments: str
    result: str | None = None
    is_error: bool = False
    is_cached: bool = False
    seconds: float | None = None
    waits_for: str = ""
    question: dict[str, Any] = field(factory=dict)
    asked: list[str] = field(factory=list)
    """What the tool asked the user, and was told."""


@frozen
class Attached:
    """What is no text in a message: what it is called, and where it is.

    ``picture`` is its address if a browser may show it: only one that is in the message itself, as
    nothing is fetched from elsewhere.
    """

    told: str
    url: str = ""
    picture: str = ""


@define
class Step:
    """Something that was said: by whom, when, after how long, for how many tokens."""

    role: str
    text: str
    at: str
    seconds: float | None = None
    usage: Usage = field(factory=Usage)
    reasoning: str = ""
    note: str = ""
    is_cached: bool = False
    calls: list[Call] = field(factory=list)
    attached: list[Attached] = field(factory=list)


@define
class Turn:
    """The steps that belong together. ``is_open``: it is being worked on, or waits.

    Or a record that cannot be read, ``unreadable`` for some reason: its step is what is stored.
    """

    turn_id: str | None
    index: int
    is_open: bool = False
    unreadable: str = ""
    steps: list[Step] = field(factory=list)

    @property
    def usage(self) -> Usage:
        """The tokens of all its steps."""
        return sum((step.usage for step in self.steps), Usage())

    @property
    def seconds(self) -> float | None:
        """From its first step to its last one; None for a single one, and where nobody knows."""
        if len(self.steps) < 2 or self.turn_id is None:
            return None
        return seconds_of(self.steps[-1].at) - seconds_of(self.steps[0].at)


def turns_of(
    history: Sequence[Mapping[str, Any]], waiting: Sequence[WaitingCall] = ()
) -> list[Turn]:
    """Return what ``get_history`` gave as turns; ``waiting`` are calls that somebody must answer.

    A call's results stand right behind it, so that an id that is used again confuses nothing.
    What was brought from elsewhere has no turns: there each message of the user begins one, and
    nobody knows how long it took.
    """
    turns: list[Turn] = []
    before: float | None = None
    for message in history:
        if message["role"] == AS_STORED:
            step = Step(AS_STORED, message["content"], "")
            turns.append(Turn(None, message["index"], unreadable=message["why"], steps=[step]))
            continue
        turn_id, is_open = message.get("turn_id"), bool(message.get("pending"))
        if not turns or _begins(turn_id, message["role"], turns[-1]):
            turns.append(Turn(turn_id, message["index"], is_open))
            before = None
        steps = turns[-1].steps
        at = seconds_of(message["created_at"])
        took = None if before is None or turn_id is None else max(at - before, 0.0)
        before = at
        if message["role"] == "tool" and steps and _add_result(steps[-1], message, took):
            continue
        steps.append(_step(message, took))
    for turn in turns:
        if turn.is_open and waiting:
            _mark(turn, waiting)
    return turns


def _begins(turn_id: str | None, role: str, before: Turn) -> bool:
    """Whether a message begins a turn, or belongs to the one ``before`` it."""
    if before.unreadable or before.turn_id != turn_id:
        return True
    return turn_id is None and role == "user"


def _step(message: Mapping[str, Any], took: float | None) -> Step:
    metadata = message.get("metadata", {})
    calls = [
        Call(call["id"], call["name"], _pretty(call["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    return Step(
        message["role"],
        readable(message["content"]),
        message["created_at"],
        took,
        Usage.from_dict(metadata.get("usage") or {}),
        _reasoning(metadata.get("blocks") or ()),
        str(metadata.get("interrupted") or metadata.get("finish_reason") or ""),
        bool(metadata.get("cached")),
        calls,
        [] if isinstance(message["content"], str) else [*_attached(message["content"])],
    )


def _attached(content: Sequence[dict[str, Any]]) -> Iterator[Attached]:
    for part in content:
        if "text" in part:
            continue
        (found,) = content_parts([part])
        if not isinstance(found, Media):
            yield Attached(str(part.get("type", "something")))
        elif found.kind == "image" and found.data and found.mime_type in WEB_IMAGES:
            yield Attached("picture", picture=found.data_url)
        else:
            yield Attached(" ".join(filter(None, (found.kind, found.name))), found.url)


def _add_result(step: Step, message: Mapping[str, Any], took: float | None) -> bool:
    """Put a result beside its call; return whether that is there."""
    for call in step.calls:
        if call.result is None and call.id == message.get("tool_call_id"):
            metadata = message.get("metadata", {})
            if tells_of_inquiry(metadata):
                call.asked.append(content_text(message["content"]))
                return True
            call.result = content_text(message["content"])
            call.is_error = bool(metadata.get("is_error"))
            call.is_cached = bool(metadata.get("cached"))
            call.seconds = took
            return True
    return False


def _mark(turn: Turn, waiting: Sequence[WaitingCall]) -> None:
    kinds = {call.id: call for call in waiting}
    for step in turn.steps:
        for call in step.calls:
            if call.result is None:
                found = kinds.get(call.id)
                call.waits_for = found.waits_for if found else ""
                if found and found.question:
                    call.question = found.question.to_dict()


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _reasoning(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Return what vendors let people see of a model's reasoning."""
    found: list[str] = []
    for block in blocks:
        data = block.get("data") or {}
        said = data.get("thinking") or data.get("summary") or (data.get("thought") and data["text"])
        if isinstance(said, str):
            found.append(said)
        elif isinstance(said, list):
            found += [
                str(part["text"]) for part in said if isinstance(part, dict) if "text" in part
            ]
    return "\n\n".join(found)
