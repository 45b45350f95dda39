"""Searching in a user's sessions, for people and scripts."""

from __future__ import annotations

from typing import Any

from ..session import SessionManager
from .terminal import Terminal
from .text import ago, one_line, short_id

_MOST = 20
_LONGEST = 120  # characters of a snippet


def find(manager: SessionManager, user: str, words: str, limit: int) -> list[dict[str, Any]]:
    """Return up to ``limit`` messages with these words, of all the user's sessions."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        page = manager.search(words, user, limit - len(found), cursor)
        found += page
        if (cursor := page.cursor) is None:
            break
    return found


def search(
    terminal: Terminal, manager: SessionManager, user: str, words: str, limit: int = _MOST
) -> None:
    """Print messages with these words, each with its session."""
    found = find(manager, user, words, limit)
    if not found:
        terminal.note("Nothing that was said has these words.")
        return
    rows = [
        (
            short_id(each["session_id"]),
            ago(each["created_at"]),
            each["role"],
            one_line(each["snippet"], _LONGEST),
        )
        for each in found
    ]
    terminal.table(("SESSION", "SAID", "BY", "WORDS"), rows)
    if len(found) == limit:
        terminal.note("There may be more: these are the latest.")
