"""What happened, for callbacks, iterators and watchers on other instances.

What an event says is built here, by one function for each kind, whether it is told where it
happens or read from Redis elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from .inquiry import is_inquiry
from .message import Message, ToolCall, finish_reason_of
from .waiting import WaitingCall

_LONGEST = 4_000  # characters of an error's text in an event: models answer with whole pages


class EventType(StrEnum):
    """The kinds of event, by what ``Event.data`` holds.

    In the order in which a turn emits them; the last ones concern no turn. Who reads later of a
    message that is stored no more, such as one of a turn that was dropped, finds ``gone``: True in
    its place.
    """

    TURN_STARTED = "turn_started"
    """``message``: the user's message as a dict; ``version``: of the session before the turn;
    ``resumed``: whether an abandoned turn goes on."""
    TEXT_DELTA = "text_delta"
    """``text``: the next piece of the answer."""
    REASONING_DELTA = "reasoning_delta"
    """``text``: the next piece of what the model deliberates first, where it shows that. Kept for
    watchers like the pieces of the answer, and not with the message."""
    TOOL_CALL = "tool_call"
    """``id``, ``name``, ``arguments``."""
    TOOL_RESULT = "tool_result"
    """``id``, ``name``, ``content``, ``is_error``."""
    CACHE_HIT = "cache_hit"
    """Not for watchers. ``what``: "tool" or "model"; ``name``: its name; ``saved_seconds``,
    ``saved_tokens``."""
    CACHE_MISS = "cache_miss"
    """Not for watchers. ``what``, ``name``: looked for in the cache, and then computed."""
    TURN_WAITING = "turn_waiting"
    """The turn is parked. ``calls``: those that somebody has to answer, each ``id``, ``name``,
    ``arguments`` and ``waits_for``: "approval", "result", or "input", which has the ``question`` of
    the tool: ``message``, and ``schema`` or ``url``."""
    AGENT_RESPONSE = "agent_response"
    """``text``: the whole answer; ``message``: the same as a dict; ``version``: the session's;
    ``persisted``: False when spooled; ``interrupted``: whether it is only a beginning;
    ``finish_reason``: "stop", or else why it is not whole, as ``TurnResult`` has it."""
    TURN_FAILED = "turn_failed"
    """``error``: class name; ``message``: what went wrong. Nothing of the turn was stored."""
    TURN_REPLAYED = "turn_replayed"
    """A spooled turn is stored now: what AGENT_RESPONSE says of it to watchers."""
    MESSAGE_ADDED = "message_added"
    """``message``: a message added outside a turn, as a dict; ``version``: of the session."""
    HISTORY_CLEARED = "history_cleared"
    """Messages were removed. ``kept``: how many are left, the first ones; ``version``; ``branch``,
    after ``rewind``: the session that has them all."""
    SESSION_CREATED = "session_created"
    SESSION_ENDED = "session_ended"
    SESSION_EXPIRED = "session_expired"
    """It ended by time, and nothing of it is left."""
    GAP = "gap"
    """Only for watchers: events are missing here. ``after`` and ``before``: the ids around them
    (``before`` is None while nothing came behind); ``missed``: how many, None if nobody knows."""
    HEALTH_CHANGED = "health_changed"
    """``state``: "healthy" or "down"; ``error``: why. Of the agent; ``session_id`` is empty."""


@frozen
class Event:
    """One thing that happened on a session. ``at`` is in seconds since the epoch.

    Events that are kept in Redis have an ``id``, a text, wherever they are told: watch the session
    from there on. Not those whose writing had to be repeated because its reply was lost.
    """

    type: EventType
    session_id: str
    turn_id: str | None = None
    data: dict[str, Any] = field(factory=dict)
    at: float = 0.0
    id: str = ""

    @property
    def text(self) -> str:
        """The ``text`` of a TEXT_DELTA, REASONING_DELTA or AGENT_RESPONSE, else an empty string."""
        return str(self.data.get("text", ""))


def time_of(event_id: str) -> float:
    """Return when an event happened that has an id, in seconds since the epoch."""
    return int(event_id.partition("-")[0]) / 1000


def numbered(event_id: str, count: int) -> list[str]:
    """Return the ids of ``count`` events that are kept as one, whose id the last of them has."""
    return [f"{event_id}.{number}" for number in range(1, count)] + [event_id] * bool(count)


Told = tuple[EventType, dict[str, Any]]
"""What an event says: its kind and its data."""


def turn_started(message: Message, version: int, *, resumed: bool) -> Told:
    """Tell that a turn begins, or goes on, on a session of that version."""
    data = {"message": message.to_dict(), "version": version, "resumed": resumed}
    return EventType.TURN_STARTED, data


def text_delta(text: str) -> Told:
    """Tell that the model said some more."""
    return EventType.TEXT_DELTA, {"text": text}


def reasoning_delta(text: str) -> Told:
    """Tell that the model deliberated some more."""
    return EventType.REASONING_DELTA, {"text": text}


def delta(record: Mapping[str, Any]) -> Told:
    """Tell of a piece by what is stored of it."""
    if "reasoning" in record:
        return reasoning_delta(str(record["reasoning"]))
    return text_delta(str(record.get("text", "")))


def tool_call(call: ToolCall) -> Told:
    """Tell that a tool is to be called; whoever hears of it cannot change the arguments."""
    data = {"id": call.id, "name": call.name, "arguments": deepcopy(call.arguments)}
    return EventType.TOOL_CALL, data


def tool_result(message: Message) -> Told:
    """Tell what a tool gave: ``message`` is what the model will read."""
    return EventType.TOOL_RESULT, {
        "id": message.tool_call_id,
        "name": message.name,
        "content": message.content,
        "is_error": bool(message.metadata.get("is_error")),
    }


def turn_step(message: Message) -> list[Told]:
    """Tell of a message that is staged: a model's calls, or a tool's result.

    What a tool asks the user is told by TURN_WAITING, so of that there is nothing here.
    """
    if is_inquiry(message):
        return []
    if message.role == "tool":
        return [tool_result(message)]
    return [tool_call(call) for call in message.tool_calls] or [text_delta(message.text)]


def cache_hit(what: str, name: str, *, saved_seconds: float, saved_tokens: int) -> Told:
    """Tell that a tool or a model did not have to be asked."""
    saved = {"saved_seconds": saved_seconds, "saved_tokens": saved_tokens}
    return EventType.CACHE_HIT, {"what": what, "name": name, **saved}


def cache_miss(what: str, name: str) -> Told:
    """Tell that a tool or a model had to be asked, though it may be cached."""
    return EventType.CACHE_MISS, {"what": what, "name": name}


def agent_response(message: Message, version: int, *, persisted: bool = True) -> Told:
    """Tell that the turn came to its answer, and the session to that version."""
    return EventType.AGENT_RESPONSE, {
        "text": message.text,
        "message": message.to_dict(),
        "version": version,
        "persisted": persisted,
        "interrupted": bool(message.metadata.get("interrupted")),
        "finish_reason": finish_reason_of(message),
    }


def turn_replayed(message: Message, version: int) -> Told:
    """Tell that the answer is stored, some time after it was given."""
    return EventType.TURN_REPLAYED, agent_response(message, version)[1]


def turn_waiting(calls: Iterable[WaitingCall]) -> Told:
    """Tell that the turn is parked until these calls are answered."""
    return EventType.TURN_WAITING, {"calls": [call.to_dict() for call in calls]}


def turn_failed(error: BaseException) -> Told:
    """Tell that the turn is dropped because of the error."""
    return EventType.TURN_FAILED, failure(error)


def failure(error: BaseException) -> dict[str, Any]:
    """Return what is told, and kept in Redis, of what went wrong."""
    message = str(error)
    if len(message) > _LONGEST:
        message = message[:_LONGEST] + "…"
    return {"error": type(error).__name__, "message": message}


def message_added(message: Message, version: int) -> Told:
    """Tell that a message was added outside any turn."""
    return EventType.MESSAGE_ADDED, {"message": message.to_dict(), "version": version}


def history_cleared(version: int, kept: int, branch: str | None = None) -> Told:
    """Tell that only the first ``kept`` messages are left; the ``branch`` has them all."""
    data = {"version": version, "kept": kept}
    return EventType.HISTORY_CLEARED, data | ({"branch": branch} if branch else {})


def gap(after: str, before: str | None, missed: int | None) -> Told:
    """Tell that events are missing between two ids."""
    return EventType.GAP, {"after": after, "before": before, "missed": missed}


def health_changed(state: str, error: str) -> Told:
    """Tell that the store went away, or is back."""
    return EventType.HEALTH_CHANGED, {"state": state, "error": error}


def told_again(session_id: str, messages: Sequence[Message], version: int) -> list[Event]:
    """Return what is told of a stored turn by its messages: text in one piece, and without ids."""
    first, *steps, answer = messages
    told = [(turn_started(first, version - 1, resumed=False), first)]
    told += [(one, step) for step in steps for one in turn_step(step)]
    told.append((agent_response(answer, version), answer))
    return [
        Event(kind, session_id, first.turn_id, data, message.created_at)
        for (kind, data), message in told
    ]
