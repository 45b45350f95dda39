"""Text for people: made safe for a terminal, shortened, and times as one says them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from ..runtime.plain_text import one_line as one_line
from ..runtime.plain_text import safe as safe

_UNFINISHED = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]{0,2000}\x1b?"
    r"|\x1b[ -/]*)\Z"
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class SafeStream:
    """Makes text safe that comes in pieces, where a control sequence may be cut in two."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be printed now."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        self._held = unfinished[0] if unfinished else ""
        return safe(text[: len(text) - len(self._held)])

    def rest(self) -> str:
        """Return what was held back when no more comes."""
        held, self._held = self._held, ""
        return safe(held)


def short_id(session_id: str) -> str:
    """Return the first eight digits of a generated id; any other id as it is."""
    return session_id[:8] if _UUID.fullmatch(session_id) else session_id


def ago(moment: str, now: datetime | None = None) -> str:
    """Say how long ago an ISO 8601 time was."""
    then = datetime.fromisoformat(moment)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{number(int(seconds // length), unit)} ago"
    return "just now"


def span(seconds: float) -> str:
    """Say a length of time in its largest fitting unit: "30 days", "90 minutes"."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or seconds == length:
            return number(round(seconds / length), unit)
    return number(round(seconds), "second")


def number(count: int, noun: str) -> str:
    """Return "1 message", "2 messages"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
