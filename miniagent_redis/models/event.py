"""What happened, for callbacks, iterators and watchers on other instances."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from attrs import field, frozen


class EventType(StrEnum):
    """The kinds of event, by what ``Event.data`` holds.

    In the order in which a turn emits them; the last ones concern no turn.
    """

    TURN_STARTED = "turn_started"
    """``message``: the user's message as a dict; ``resumed``: whether an abandoned turn goes on."""
    TEXT_DELTA = "text_delta"
    """``text``: the next piece of the answer."""
    TOOL_CALL = "tool_call"
    """``id``, ``name``, ``arguments``."""
    TOOL_RESULT = "tool_result"
    """``id``, ``name``, ``content``, ``is_error``."""
    CACHE_HIT = "cache_hit"
    """``what``: "tool" or "model"; ``name``: its name; ``saved_seconds``, ``saved_tokens``."""
    CACHE_MISS = "cache_miss"
    """``what``, ``name``: it was looked for in the cache, and then computed."""
    AGENT_RESPONSE = "agent_response"
    """``text``: the whole answer; ``version``: the session's; ``persisted``: False when spooled."""
    TURN_FAILED = "turn_failed"
    """``error``: class name; ``message``: what went wrong. Nothing of the turn was stored."""
    TURN_REPLAYED = "turn_replayed"
    """``text``, ``version``: a spooled turn is stored now."""
    MESSAGE_ADDED = "message_added"
    """``message``: a message added outside a turn, as a dict; ``version``: of the session."""
    HISTORY_CLEARED = "history_cleared"
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

    Events that are kept in Redis have an ``id``, a text: watch the session from there on.
    """

    type: EventType
    session_id: str
    turn_id: str | None = None
    data: dict[str, Any] = field(factory=dict)
    at: float = 0.0
    id: str = ""

    @property
    def text(self) -> str:
        """The ``text`` of a TEXT_DELTA or AGENT_RESPONSE, else an empty string."""
        return str(self.data.get("text", ""))
