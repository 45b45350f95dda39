"""How a tool asks the user before it goes on, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ..errors import InvalidInput, ToolError
from ..models import Approve, Deny, Question, ToolResult
from ..models.inquiry import Action
from .schema.filled import filled
from .schema.shapes import Json


class AskUser(Exception):
    """Ask the user, and be called again with the answer: ``ToolContext.inquiries`` has it then.

    The turn is parked meanwhile, so ``state``, which is JSON, is all that is left of the call.
    """

    def __init__(self, question: Question, state: dict[str, Any]) -> None:
        super().__init__(question.message)
        self.question = question
        self.state = state


def reply_of(question: Question, answer: object) -> tuple[Action, Json]:
    """Return what a tool is told: whether the user accepts, and the fields, with their defaults.

    An answer is the fields, also as JSON; the text of the only one; ``Approve()``, or
    ``Deny(why)``. Raises InvalidInput for one that does not fit.
    """
    if isinstance(answer, Deny):
        return "decline", {}
    fields: object = answer.content if isinstance(answer, ToolResult) else answer
    if isinstance(fields, Approve) or (question.url and isinstance(fields, str)):
        fields = {}
    if isinstance(fields, str):
        fields = _read(fields, question)
    named = ", ".join(question.schema.get("properties", {})) or "none"
    if not isinstance(fields, Mapping):
        raise InvalidInput(
            f"{answer!r:.100} does not answer the question {question.message!r:.200}",
            hint=f"answer with a dict of the fields ({named}), Approve() or Deny(why)",
        )
    try:
        return "accept", filled(question.schema, cast(Mapping[str, Any], fields))
    except ToolError as exc:
        raise InvalidInput(
            f"the answer to {question.message!r:.200} does not fit",
            cause=exc.problem,
            hint=f"the fields are: {named}",
        ) from exc


def _read(text: str, question: Question) -> object:
    """Return the fields that a text has as JSON; of a form with one field it may be that alone."""
    try:
        found: object = json.loads(text)
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    fields = list(question.schema.get("properties", {}))
    return {fields[0]: text} if len(fields) == 1 else text
