"""Titles of sessions: given by somebody, or made of what was said first, if nobody did."""

from __future__ import annotations

import threading
from contextlib import suppress

from ..errors import InvalidInput, MiniAgentError, SessionBusy, SessionNotFound, StoreUnavailable
from ..models import new_id
from ..runtime.forking import reset_after_fork
from .core import StoreCore, log
from .index import Index
from .keys import check_session_id
from .notes import session_note
from .operations.session import set_title
from .session_state import CREATED_AT, TITLED, VERSION
from .sessions import Sessions

LONGEST = 200
"""Characters of a title."""
_TRIES = 100
_MOST_NOTED = 1000


class Titles:
    """Gives sessions titles. Safe for threads."""

    def __init__(self, core: StoreCore, sessions: Sessions, index: Index) -> None:
        self._core = core
        self._sessions = sessions
        self._index = index
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._noted: dict[str, str] = {}
        self._lock = threading.Lock()

    def set_title(self, session_id: str, title: str | None, *, user_id: str | None = None) -> bool:
        """Give the session a title, up to 200 characters; return whether it was there.

        None takes it away. It is told by ``session_state`` and ``list_sessions``, stands in the
        session's document, and is no use of the session: neither its deadline nor its version
        changes. Atomic; two round trips. Raises InvalidInput, SessionTooLarge, OutcomeUnknown or
        StoreUnavailable.
        """
        try:
            return self._give(check_session_id(session_id), check_title(title), user_id)
        except SessionNotFound:
            return False

    def _give(
        self, session_id: str, title: str | None, user_id: str | None, *, only_first: bool = False
    ) -> bool:
        for _ in range(_TRIES):
            document, values = self._sessions.read(session_id, user_id)
            if only_first and "title" in document:
                return False
            record = self._sessions.document_record(session_id, {**document, "title": title})
            changed = set_title(
                self._core.on(session_id, user_id),
                operation=new_id()[:16],
                document=record,
                created_at=values[CREATED_AT] or b"",
                version=values[VERSION] or b"",
                titled=values[TITLED] or b"",
                channel=self._index.channel(),
                note=session_note(session_id, "session_changed"),
            )
            if changed is None:
                return True
        raise SessionBusy(session_id, 0.0)

    def give_first(self, session_id: str, title: str) -> bool:
        """Give a title unless the session had one, be it taken away since; whether that was done.

        Raises SessionNotFound, SessionBusy, or as ``set_title``.
        """
        return self._give(session_id, check_title(title), None, only_first=True)

    def note(self, session_id: str, title: str) -> None:
        """Have a session be given its first title soon. Sends nothing."""
        with self._lock:
            if len(self._noted) < _MOST_NOTED:
                self._noted[session_id] = title

    def flush(self) -> None:
        """Do what ``write`` does, and raise nothing: while Redis is away it is kept."""
        with suppress(StoreUnavailable):
            self.write()

    def write(self) -> None:
        """Give what was noted. Raises StoreUnavailable; then the rest is kept."""
        while self._noted:
            with self._lock:
                if not self._noted:
                    return
                session_id, title = self._noted.popitem()
            try:
                with suppress(SessionNotFound):
                    self.give_first(session_id, title)
            except StoreUnavailable:
                self.note(session_id, title)
                raise
            except MiniAgentError as exc:
                log.warning("session %s was given no title: %s", session_id, exc)


def check_title(title: object) -> str | None:
    """Return the title, or None for none; raises InvalidInput for what is no title."""
    if title is None or (isinstance(title, str) and title.strip() and len(title) <= LONGEST):
        return title
    raise InvalidInput(
        f"a title is text of 1 to {LONGEST} characters, not {title!r:.60}",
        hint="None takes a title away",
    )
