"""From what a person calls a session to its id: the id, the start of it, or "last"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import InvalidInput, MiniAgentError, SessionNotFound
from ..session import SessionManager
from .text import ago, one_line, short_id

LAST = "last"
_MOST_SHOWN = 5
_PAGE = 1000


def find_session(
    manager: SessionManager, user: str | None, wanted: str, *, current: str | None = None
) -> str:
    """Return the id of the user's session that is meant, or of anybody's without a user.

    "last" is the most recently used one other than ``current``. Raises MiniAgentError, with
    sessions that could be meant, if there is none or more than one.
    """
    if wanted == LAST:
        return _last(manager, user, current)
    if _exists(manager, user, wanted):
        return wanted
    found = [each for each in _all(manager, user) if each["session_id"].startswith(wanted)]
    if len(found) == 1:
        return str(found[0]["session_id"])
    shown = one_line(wanted, 60)
    if not found:
        latest = manager.list_sessions(user, _MOST_SHOWN)
        raise MiniAgentError(
            f"there is no session {shown!r} of {_whose(user)}",
            cause=f"no id begins so; the latest are {_named(latest, short=True)}"
            if latest
            else "there are none at all",
            hint="what is to be said is typed in the chat, or piped: echo … | miniagent-redis chat"
            if " " in wanted
            else "give a session's id, the start of it, or last",
        )
    raise MiniAgentError(
        f"{len(found)} sessions of {_whose(user)} begin with {shown!r}",
        cause=f"they are {_named(found, short=False)}",
        hint="give more of the id",
    )


def _last(manager: SessionManager, user: str | None, current: str | None) -> str:
    for each in manager.list_sessions(user, 2):
        if each["session_id"] != current:
            return str(each["session_id"])
    other = "other " if current else ""
    raise MiniAgentError(
        f"{_whose(user)} has no {other}session",
        hint="sessions appear here once something was said in them",
    )


def _whose(user: str | None) -> str:
    return "anybody" if user is None else user


def _exists(manager: SessionManager, user: str | None, session_id: str) -> bool:
    try:
        manager.store.session_state(session_id, user_id=user)
    except (SessionNotFound, InvalidInput):
        return False
    return True


def _all(manager: SessionManager, user: str | None) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = manager.list_sessions(user, _PAGE, cursor)
        yield from page
        cursor = page.cursor
        if cursor is None:
            return


def _named(sessions: list[dict[str, Any]], *, short: bool) -> str:
    names = [
        f"{short_id(each['session_id']) if short else each['session_id']}"
        f" ({ago(each['last_activity'])})"
        for each in sessions[:_MOST_SHOWN]
    ]
    more = len(sessions) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")
