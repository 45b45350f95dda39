"""Notes on ``session_updates``: a JSON object for each session that is made, changed or over."""

from __future__ import annotations

import json
from typing import Literal

from ..models import isoformat

SessionEvent = Literal["session_created", "session_changed", "session_ended", "session_expired"]


def session_note(
    session_id: str,
    event: SessionEvent,
    *,
    last_activity_ms: int | None = None,
    expired_at_ms: int | None = None,
) -> str:
    """Return the note. All programs of a namespace hear it, so it does not name the user."""
    note = {"session_id": session_id, "event": event}
    if last_activity_ms is not None:
        note["last_activity"] = isoformat(last_activity_ms / 1000)
    if expired_at_ms is not None:
        note["expired_at"] = isoformat(expired_at_ms / 1000)
    return json.dumps(note)
