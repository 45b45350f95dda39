"""How what was said looks: tool calls on a line each, whole conversations, lists of sessions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ..models.message import content_text
from ..session import SessionManager
from ..session.headings import heading_of
from .terminal import Terminal
from .text import ago, number, one_line, short_id

_LONGEST_ARGUMENT = 60  # characters
_LONGEST_RESULT = 80
_LONGEST_TITLE = 60
_READERS = 8


def tool_line(
    name: str,
    arguments: Mapping[str, Any],
    content: str | list[dict[str, Any]],
    *,
    is_error: bool = False,
) -> str:
    """Return ``· calculator(expression="2+2") → 4``, shortened."""
    given = ", ".join(f"{key}={_value(value)}" for key, value in arguments.items())
    outcome = one_line(content_text(content), _LONGEST_RESULT) or "(nothing)"
    mark = "failed: " if is_error else ""
    return f"· {one_line(name, _LONGEST_ARGUMENT)}({given}) → {mark}{outcome}"


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return ``refund(order=7)``, whole: somebody has to decide about it."""
    given = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in arguments.items())
    return f"{name}({', '.join(given)})"


def load_history(
    terminal: Terminal, manager: SessionManager, user: str | None, session_id: str
) -> list[dict[str, Any]]:
    """Return all messages of the session, and say if some could not be read."""
    store = manager.store
    before = store.unreadable_records
    messages = manager.get_history(session_id, user_id=user)
    if missing := store.unreadable_records - before:
        terminal.plain(f"{number(missing, 'message')} could not be read and is left out here.")
    return messages


def show_history(terminal: Terminal, messages: Iterable[Mapping[str, Any]]) -> None:
    """Print a conversation as it looked: what the user said behind a ">"."""
    calls: dict[str, Mapping[str, Any]] = {}
    first = True
    for message in messages:
        text = content_text(message["content"]).rstrip("\n")
        role = message["role"]
        for call in message.get("tool_calls", ()):
            calls[call["id"]] = call["arguments"]
        if role == "tool":
            terminal.result(
                tool_line(
                    message.get("name") or "tool",
                    calls.get(message.get("tool_call_id", ""), {}),
                    text,
                    is_error=bool(message.get("metadata", {}).get("is_error")),
                )
            )
        elif role == "user":
            terminal.result(("" if first else "\n") + "> " + text.replace("\n", "\n  "))
        elif text:
            terminal.result(f"({role}) {text}" if role == "system" else text)
        first = False


def show_sessions(
    terminal: Terminal,
    manager: SessionManager,
    user: str | None,
    sessions: Sequence[Mapping[str, Any]],
    *,
    current: str | None = None,
) -> None:
    """Print a table of sessions, each with its title, or how it began if it has none.

    And with whose it is, where no user is given.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        titles = list(readers.map(partial(heading_of, manager, user_id=user), sessions))
    rows: list[tuple[str, ...]] = [
        (
            short_id(each["session_id"]),
            ago(each["last_activity"]) + (" (this one)" if each["session_id"] == current else ""),
            f"{each['message_count']:,}",
            one_line(title, _LONGEST_TITLE),
        )
        for each, title in zip(sessions, titles, strict=True)
    ]
    heads: tuple[str, ...] = ("SESSION", "LAST USED", "MESSAGES", "TITLE")
    if user is None:
        heads = ("USER", *heads)
        owners = (one_line(each["user_id"] or "", _LONGEST_ARGUMENT) for each in sessions)
        rows = [(owner, *row) for owner, row in zip(owners, rows, strict=True)]
    terminal.table(heads, rows)


def _value(value: object) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), _LONGEST_ARGUMENT)
