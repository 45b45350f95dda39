"""What a chat page says of the calls for which a turn waits."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from ...models import Deny, Message, ToolResult
from ...store.parking import Answer, Parked
from .asked import Asked
from .wire import question_id


def answers_to(parked: Parked, asked: Asked) -> dict[str, Answer]:
    """Return the answers to calls that wait: results of the page; decisions and fields for ours."""
    found: dict[str, Answer] = {}
    for call in parked.calls:
        known_as = question_id(parked.turn_id, call.id)
        if call.waits_for == "approval":
            given = asked.approvals.get(known_as)
        elif call.waits_for == "input" and known_as in asked.fields:
            given = asked.fields[known_as]
        else:
            given = asked.answers.get(call.id)
        if isinstance(given, ToolResult) and call.waits_for == "input":
            given = Deny(given.text)  # the page says that there is no answer
        elif isinstance(given, ToolResult):
            given = evolve(given, call_id=call.id, name=call.name)
        if given is not None:
            found[call.id] = given
    return found


def results_among(parked: Parked, answers: dict[str, Answer]) -> Sequence[Message]:
    """Return the results among answers as messages, to be shown."""
    found = []
    for call in parked.calls:
        given = answers.get(call.id) if call.waits_for == "result" else None
        if isinstance(given, (str, ToolResult)):
            text = given if isinstance(given, str) else given.text
            found.append(
                Message("tool", text, tool_call_id=call.id, name=call.name, turn_id=parked.turn_id)
            )
    return found
