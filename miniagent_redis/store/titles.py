"""Titles of sessions: given by somebody, or made of what was said first, if nobody did."""

from __future__ import annotations

import threading
from contextlib import suppress

from ..errors import (
    InvalidInput,
    MiniAgentError,
    RecordUnreadable,
    SchemaTooNew,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
)
from ..models import new_id
from ..records.json import Json
from ..records.sealed import EncryptionKeyMissing
from ..runtime.forking import reset_after_fork
from .core import StoreCore, log
from .index import Index
from .keys import check_session_id
from .notes import session_note
from .one_session import of_one_session
from .operations.session import set_title
from .session_state import CREATED_AT, EPOCH, TITLED, VERSION
from .sessions import Sessions

LONGEST = 200
"""Characters of a title."""
_IS_MADE = "title_is_made"  # of the first words, or by a model: nobody gave it
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
        self._noted: dict[str, tuple[str, int]] = {}
        self._lock = threading.RLock()  # over what is noted

    def set_title(self, session_id: str, title: str | None, *, user_id: str | None = None) -> bool:
        """Give the session a title, up to 200 characters; return whether it was there.

        None takes it away. It is told by ``session_state`` and ``list_sessions``, stands in the
        session's document, and is no use of the session: neither its deadline nor its version
        changes. Atomic; two round trips. Raises InvalidInput, SessionTooLarge, OutcomeUnknown or
        StoreUnavailable.
        """
        given = {} if title is None else {"title": check_title(title)}
        try:
            return self._give(check_session_id(session_id), user_id, {"title": None, **given})
        except SessionNotFound:
            return False

    def give_first(self, session_id: str, title: str, epoch: int) -> bool:
        """Give a title that was made, unless somebody gave one, or took it away; whether it was.

        It was made of messages of that ``epoch``: they may be forgotten by now, and another session
        have that id. Raises SessionNotFound, SessionBusy, or as ``set_title``.
        """
        given = {"title": check_title(title), _IS_MADE: True}
        return self._give(session_id, None, given, epoch=epoch)

    def take_back(self, session_id: str, user_id: str | None = None) -> None:
        """Take away a title that was made, as what it was made of is forgotten."""
        with self._lock:
            self._noted.pop(session_id, None)
        with suppress(SessionNotFound, RecordUnreadable, SchemaTooNew, EncryptionKeyMissing):
            self._give(session_id, user_id, {}, is_made=True)

    @of_one_session
    def _give(
        self,
        session_id: str,
        user_id: str | None,
        given: Json,
        *,
        is_made: bool = False,
        epoch: int | None = None,
    ) -> bool:
        """Put what is given in the place of a title; but a made one only in that of a made one."""
        only_made = is_made or _IS_MADE in given
        for _ in range(_TRIES):
            document, values = self._sessions.read(session_id, user_id)
            if epoch is not None and epoch != int(values[EPOCH] or 0):
                return False
            was_given = "title" in document and not document.get(_IS_MADE)
            if (only_made and was_given) or (is_made and "title" not in document):
                return False
            others = {k: v for k, v in document.items() if k not in ("title", _IS_MADE)}
            changed = set_title(
                self._core.on(session_id, user_id),
                operation=new_id()[:16],
                document=self._sessions.document_record(session_id, {**others, **given}),
                created_at=values[CREATED_AT] or b"",
                version=values[VERSION] or b"",
                titled=values[TITLED] or b"",
                channel=self._index.channel(),
                note=session_note(session_id, "session_changed"),
            )
            if changed is None:
                return True
        raise SessionBusy(session_id, 0.0)

    def note(self, session_id: str, title: str, epoch: int) -> None:
        """Have a session be given its first title soon, as ``give_first`` does. Sends nothing."""
        with self._lock:
            if len(self._noted) < _MOST_NOTED:
                self._noted[session_id] = title, epoch

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
                session_id, (title, epoch) = self._noted.popitem()
            try:
                with suppress(SessionNotFound):
                    self.give_first(session_id, title, epoch)
            except StoreUnavailable:
                self.note(session_id, title, epoch)
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
