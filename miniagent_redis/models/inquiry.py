"""What a tool asks the user in the middle of its call, and what it is told.

Both are kept as messages of role "tool" behind the call, which are no results: the question with
what the tool needs to go on, and the answer. So a turn that waits needs no process, and the thread
shows who said what. Models are not shown them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from attrs import evolve, field, frozen

from .message import Message
from .waiting import Question

_ASKED, _REPLIED = "asked", "replied"
"""In the metadata of such messages."""
Action = Literal["", "accept", "decline"]


@frozen
class Inquiry:
    """A question of a tool, and what it is to be told: nothing yet if ``action`` is empty.

    ``state`` is the tool's own, JSON, given back to it as it is. ``content`` has the fields of the
    answer.
    """

    question: Question
    state: dict[str, Any] = field(factory=dict)
    action: Action = ""
    content: dict[str, Any] = field(factory=dict)


def question_told(inquiry: Inquiry) -> dict[str, Any]:
    """Return the metadata of a message that asks."""
    return {_ASKED: {**inquiry.question.to_dict(), "state": inquiry.state}}


def reply_told(action: Action, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a message that answers."""
    return {_REPLIED: {"action": action, "content": dict(content)}}


def is_inquiry(message: Message) -> bool:
    """Whether a tool's message is no result, but what it asked or was told."""
    return tells_of_inquiry(message.metadata)


def tells_of_inquiry(metadata: Mapping[str, Any]) -> bool:
    """Whether these are the metadata of such a message."""
    return _ASKED in metadata or _REPLIED in metadata


def asks(message: Message) -> bool:
    """Whether a tool's message is a question."""
    return _ASKED in message.metadata


def inquiries_of(messages: Sequence[Message], call_id: str) -> tuple[Inquiry, ...]:
    """Return what a call of the last reply among the messages has asked, oldest first."""
    found: list[Inquiry] = []
    for message in messages:
        if message.role != "tool":
            found = []
        elif message.tool_call_id != call_id:
            continue
        elif (asked := message.metadata.get(_ASKED)) is not None:
            question = Question(asked["message"], asked.get("schema", {}), asked.get("url", ""))
            found.append(Inquiry(question, asked["state"]))
        elif found and (told := message.metadata.get(_REPLIED)) is not None:
            found[-1] = evolve(found[-1], action=told["action"], content=told["content"])
    return tuple(found)


def open_question(messages: Sequence[Message], call_id: str) -> Question | None:
    """Return what a call of the last reply waits to be told, if it waits."""
    asked = inquiries_of(messages, call_id)
    return asked[-1].question if asked and not asked[-1].action else None
