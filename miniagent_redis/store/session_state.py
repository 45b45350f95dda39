"""A session's document and counters, as they are stored, as what is told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..models import SessionState
from ..records.json import Json
from .keys import NEVER_MS

FIELDS: tuple[str, ...] = (
    "created_at", "last_activity", "deadline", "message_count", "bytes", "turns",
    "input_tokens", "output_tokens", "tool_calls", "version", "epoch", "turn", "head", "titled",
    "user", "agent", "ttl",
)  # fmt: skip
"""Fields of the metadata. Those from ``turn`` on need not be there."""
NEEDED: int = FIELDS.index("turn")
CREATED_AT, VERSION, EPOCH = map(FIELDS.index, ("created_at", "version", "epoch"))
HEAD, TITLED = map(FIELDS.index, ("head", "titled"))
USER, AGENT, TTL = map(FIELDS.index, ("user", "agent", "ttl"))


def state_of(session_id: str, document: Json, values: Sequence[Any]) -> SessionState:
    """Return what a document and the values of FIELDS tell of a session."""
    created, used, deadline, *numbers = values[:NEEDED]
    turn, head = values[NEEDED], values[HEAD]
    messages, size, turns, input_tokens, output_tokens, tool_calls, version, epoch = map(
        int, numbers
    )
    return SessionState(
        session_id=session_id,
        user_id=document["user_id"],
        agent_name=document["agent_name"],
        data=document["data"],
        created_at=int(created) / 1000,
        last_activity=int(used) / 1000,
        expires_at=None if int(deadline) >= NEVER_MS else int(deadline) / 1000,
        message_count=messages,
        bytes=size,
        turns=turns,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        tool_calls=tool_calls,
        version=version,
        epoch=epoch,
        open_turn=turn.decode() if turn else None,
        head=int(head or 0),
        title=title_of(document),
        forked_from=origin_of(document),
    )


def title_of(document: Mapping[str, Any]) -> str | None:
    """Return the title that a session's document has, if it has one."""
    title = document.get("title")
    return title if isinstance(title, str) and title else None


def origin_of(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return of which session, and where, this one is a branch, if it is one."""
    origin = document.get("forked_from")
    return dict(origin) if isinstance(origin, dict) and "session_id" in origin else None
