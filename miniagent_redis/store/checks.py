"""What arguments, messages, and the messages of a turn must be like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from attrs import evolve

from ..errors import InvalidInput
from ..models import Message, OpenTurn, ToolCall, UsageTotals
from ..models.inquiry import is_inquiry
from ..models.message import ROLES
from ..runtime.checks import of_kind, several
from ..runtime.clock import Clock
from ..runtime.durations import FORMS, Duration, is_never, seconds
from .keys import NEVER_MS

_YEAR_10000 = 253_402_300_800.0  # seconds since the epoch; datetime ends before it


def check_object(value: object, what: str) -> dict[str, Any]:
    """Return ``value`` if it is a dict; raise InvalidInput otherwise."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{what} must be a dict, not {type(value).__name__}")
    found: dict[str, Any] = value
    return found


def milliseconds(ttl: Duration, what: str) -> int:
    """Return a positive time in whole milliseconds; raise InvalidInput for anything else."""
    found = seconds(ttl)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not found > 0:
        raise InvalidInput(
            f"{what} must be a number of seconds above zero, not {ttl!r:.100}", hint=FORMS
        )
    if found > 1e9:
        raise InvalidInput(f"{what} of {found!r:.100} seconds is more than 30 years")
    return max(1, round(found * 1000))


def lifetime(ttl: Duration | None, what: str) -> int:
    """Return what ``milliseconds`` does; NEVER_MS for None and "never"."""
    return NEVER_MS if ttl is None or is_never(ttl) else milliseconds(ttl, what)


def check_wait(timeout: object, what: str) -> float:
    """Return a number of seconds; zero and below mean not to wait. Raises InvalidInput."""
    found = seconds(timeout)  # type: ignore[arg-type]
    if isinstance(found, bool) or not isinstance(found, (int, float)) or found != found:
        raise InvalidInput(f"{what} must be a number of seconds, not {timeout!r:.100}", hint=FORMS)
    return found


def optional_wait(timeout: Duration | None, what: str = "timeout") -> float | None:
    """Return what ``check_wait`` does; None, for a wait without end, stays None."""
    return None if timeout is None else check_wait(timeout, what)


def check_mark(mark: object) -> bytes:
    """Return the mark of a slice of a thread; raise InvalidInput for anything else."""
    if not isinstance(mark, bytes):
        raise InvalidInput(
            f"a mark is bytes, not {type(mark).__name__}",
            hint="pass the mark of the slice that was loaded last, or leave it out",
        )
    return mark


def check_turn(turn: object) -> OpenTurn:
    """Return the open turn; raise InvalidInput for anything else."""
    return of_kind(turn, OpenTurn, "turn", "pass what begin_turn or the last step returned")


def check_spent(spent: object) -> UsageTotals:
    """Return what a turn took; raise InvalidInput for anything else."""
    return of_kind(spent, UsageTotals, "spent", "write UsageTotals(input_tokens=…, …)")


def check_messages(messages: object) -> list[Message]:
    """Return several messages, each looked at later; raise InvalidInput for anything else."""
    return several(messages, Message, "messages")


def check_ticket(ticket: object) -> str | None:
    """Return the ticket of a waiting caller, or None; raise InvalidInput for anything else."""
    if ticket is None or (isinstance(ticket, str) and re.fullmatch("[0-9a-f]{32}", ticket)):
        return ticket
    raise InvalidInput(
        f"a ticket is 32 hexadecimal digits, not {str(ticket)[:60]!r}",
        hint="make one with uuid.uuid4().hex, or leave it out",
    )


def check_message(message: object) -> None:
    """Raise InvalidInput unless it is a Message that comes back from Redis as it is.

    What is inside its dicts is looked at when it is encoded.
    """
    if not isinstance(message, Message):
        raise InvalidInput(
            f"a message is a Message, not {type(message).__name__}",
            hint='write Message("user", "the text")',
        )
    if message.role not in ROLES:
        raise InvalidInput(
            f"a message's role is one of {', '.join(ROLES)}, not {message.role!r:.100}"
        )
    content: object = message.content
    if isinstance(content, list):
        for part in content:
            check_object(part, "a content part")
    elif not isinstance(content, str):
        raise InvalidInput(
            f"a message must be text or a list of content parts, not {type(content).__name__}"
        )
    calls: object = message.tool_calls
    if not isinstance(calls, (tuple, list)):
        raise InvalidInput(f"tool_calls is a tuple of ToolCall, not {type(calls).__name__}")
    for call in calls:
        _check_tool_call(call)
    texts: tuple[object, ...] = (
        message.id,
        message.turn_id or "",
        message.tool_call_id or "",
        message.name or "",
    )
    for text in texts:
        if not isinstance(text, str):
            raise InvalidInput("id, turn_id, tool_call_id and name of a message are text, or None")
    at: object = message.created_at
    if not isinstance(at, (int, float)) or not 0 <= at < _YEAR_10000:
        raise InvalidInput(f"created_at must be seconds since the epoch, not {at!r}")
    check_object(message.metadata, "metadata")
    check_object(message.extra, "extra")
    # A tool may find nothing to say. An answer may be interrupted before its first word, and it may
    # be meant to be empty: both say so.
    told = message.metadata
    is_meant = message.role == "tool" or "interrupted" in told or "finish_reason" in told
    if not content and not message.tool_calls and not is_meant:
        raise InvalidInput("the message is empty", hint="send some text")


def stamped(message: Message, turn_id: str, clock: Clock) -> Message:
    """Check a message; return it with its turn, and a time if it has none."""
    check_message(message)
    if message.turn_id == turn_id and message.created_at:
        return message
    return evolve(message, turn_id=turn_id, created_at=message.created_at or clock.time())


def _check_tool_call(call: object) -> None:
    if not isinstance(call, ToolCall):
        raise InvalidInput(f"tool_calls holds ToolCall objects, not {type(call).__name__}")
    if not isinstance(call.id, str) or not isinstance(call.name, str):
        raise InvalidInput("id and name of a tool call are text")
    check_object(call.arguments, "the arguments of a tool call")


def is_closed(messages: Sequence[Message]) -> bool:
    """Tell whether all tool calls are directly followed by their results, and nothing else is."""
    waiting: list[str | None] = []
    for message in messages:
        if message.role != "tool" and not waiting:
            waiting = [call.id for call in message.tool_calls]
        elif message.role == "tool" and message.tool_call_id in waiting:
            if not is_inquiry(message):
                waiting.remove(message.tool_call_id)
        else:
            return False
    return not waiting


def check_appended(messages: Message | Sequence[Message]) -> list[Message]:
    """Return what is to be appended outside a turn, in a list; raise InvalidInput if it cannot."""
    several: list[Message] = (
        list(messages) if isinstance(messages, (list, tuple)) else [cast(Message, messages)]
    )
    if not several:
        raise InvalidInput("there is no message to append")
    for message in several:
        check_message(message)
    if not is_closed(several):
        raise InvalidInput(
            "tool calls and their results cannot be appended one by one",
            cause="a thread never holds a call without its result",
            hint="append calls with all their results right behind them, or stage and commit "
            "them as a turn: begin_turn, stage_step, commit_turn",
        )
    return several


def check_results(messages: Sequence[Message]) -> None:
    """Raise InvalidInput unless the messages are closed, as ``is_closed`` says."""
    if not is_closed(messages):
        raise InvalidInput(
            "each tool call must be followed by its result",
            cause="a thread never holds a call without its result, or a result without a call",
        )


def miscounted(count: int, length: int) -> str:
    """Say what it means that a thread is not as long as its session says."""
    if length < count:
        what = f"{count - length} of its {count} messages are gone: evicted by the server"
        return f"{what}, or removed by another program"
    return f"{length} messages are in it and {count} were stored: the data was damaged"
