"""What the calls of a parked turn are answered with, and the messages that answers become."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidInput
from ..models import Approve, Deny, Message, Question, ToolResult, WaitingCall
from ..models.inquiry import reply_told
from ..models.waiting import ANSWERED
from ..records.json import Json
from ..tools.asking import reply_of

Answer = str | Mapping[str, Any] | ToolResult | Approve | Deny
"""What a call is answered with: its result, whether it may run, or the fields that it asks for."""
DENIED = "declined: it was not run"


def message_of(call: WaitingCall, answer: object, note: Json | None = None) -> Message | None:
    """Return the message that an answer stands for; None if it lets the call be run.

    Raises InvalidInput for one that does not fit what the call waits for.
    """
    if call.waits_for != "input" or (isinstance(answer, Deny) and not isinstance(answer.why, str)):
        return result_of(call, answer, note)
    action, content = reply_of(call.question or Question(""), answer)
    text = f"answered: {json.dumps(content, ensure_ascii=False)}" if content else f"{action}ed"
    if action == "decline":
        text = f"declined: {answer.why}" if isinstance(answer, Deny) and answer.why else "declined"
    return _message(call, text, note, reply_told(action, content))


def result_of(call: WaitingCall, answer: object, note: Json | None = None) -> Message | None:
    """Return the result that an answer stands for, with which the call is over."""
    is_error = False
    text: str | list[dict[str, Any]]
    match answer:
        case Approve():
            if call.waits_for == "approval":
                return None
            raise InvalidInput(
                f"the call {call.id} of {call.name!r} waits for its result, not for approval",
                hint="somebody else runs that tool: answer with what it gave, or Deny(why)",
            )
        case Deny(str(why)):
            is_error, text = True, f"{DENIED}: {why}" if why else DENIED
        case ToolResult():
            is_error, text = answer.is_error, answer.content
        case str():
            text = answer
        case _:
            raise InvalidInput(
                "a call is answered with text, a ToolResult, Approve() or Deny(why), not "
                f"{answer!r:.100}",
                hint="fields are for calls that wait for input"
                if isinstance(answer, Mapping)
                else "",
            )
    return _message(call, text, note, {"is_error": True} if is_error else {})


def _message(
    call: WaitingCall, content: str | list[dict[str, Any]], note: Json | None, more: Json
) -> Message:
    metadata: Json = {ANSWERED: {"waits_for": call.waits_for, **(note or {})}, **more}
    return Message("tool", content, tool_call_id=call.id, name=call.name, metadata=metadata)
