"""Events as Server-Sent Events, for a browser: each with its id, to go on behind it later."""

from __future__ import annotations

import json
from typing import Any

from ..models import Event, EventType
from .problems import words_for

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
"""Nobody on the way keeps, packs or holds back what is sent: nginx would."""
BEGIN = b"retry: 1000\n\n"
"""Sent at once, so that the client has its status. A stream that was cut is asked for again after a
second."""
PING = b": ping\n\n"
"""A comment, which browsers pass over. It finds out whether they are there still."""
ENDS = frozenset((EventType.AGENT_RESPONSE, EventType.TURN_FAILED, EventType.TURN_WAITING))
"""Behind one of these nothing comes of a turn; of one that waits, until it is answered."""


def frame(event: Event) -> bytes:
    """Return an event as it is sent: ``id``, ``event`` and one line of ``data``, in JSON."""
    name, data = event.type.value, json.dumps(told(event), separators=(",", ":"))
    lines = [f"id: {event.id}"] if event.id else []
    return "\n".join([*lines, f"event: {name}", f"data: {data}", "", ""]).encode()


def told(event: Event) -> dict[str, Any]:
    """Return what a client is told: ``type session_id turn_id at``, and what ``data`` holds.

    Why a turn failed is told in words for people, and as the ``error``'s code.
    """
    data = event.data
    if event.type is EventType.TURN_FAILED:
        code, words = words_for(str(data.get("error")))
        data = {"error": code, "message": words}
    head = {"type": event.type.value, "session_id": event.session_id, "turn_id": event.turn_id}
    return {**head, "at": event.at, **data}
