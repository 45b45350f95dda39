"""How a session is called in lists for people: by its title, or how its user began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import MiniAgentError, SchemaTooNew, SessionNotFound, StoreUnavailable
from ..models.message import content_text
from ..records.sealed import EncryptionKeyMissing
from .manager import SessionManager

_FIRST = 3  # messages among which the first of the user is looked for
UNREAD: Mapping[type[MiniAgentError], str] = {
    SessionNotFound: "(ended)",
    SchemaTooNew: "(written by a newer version)",
    EncryptionKeyMissing: "(encrypted with a key that is not at hand)",
}


def heading_of(manager: SessionManager, session: Mapping[str, Any], user_id: str | None) -> str:
    """Return what an entry of ``list_sessions`` is called, whole; "" if nothing was said yet.

    Where that cannot be read, it is why, in brackets. One round trip if it has no title, so
    many are asked for at a time by who has many. Raises StoreUnavailable.
    """
    if session["title"]:
        return str(session["title"])
    try:
        messages = manager.get_history(
            session["session_id"], _FIRST, before=_FIRST, user_id=user_id
        )
    except StoreUnavailable:
        raise
    except MiniAgentError as exc:
        return UNREAD.get(type(exc), "(cannot be read)")
    return next((content_text(each["content"]) for each in messages if each["role"] == "user"), "")
