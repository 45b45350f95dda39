"""Sessions: the document that says who, when and with what data; its existence is the session."""

from __future__ import annotations

from typing import Any

from ..errors import (
    InvalidInput,
    RecordUnreadable,
    SessionChanged,
    SessionExists,
    SessionNotFound,
    SessionTooLarge,
)
from ..models import SessionState, new_id
from ..records.frame import Unreadable
from ..records.json import Json, merged
from ..runtime.checks import whole_number
from ..runtime.durations import Duration
from .checks import check_object, lifetime, milliseconds
from .core import StoreCore
from .index import FRESH_MS, Index
from .keys import check_session_id, check_user_id, full_id, to_bytes
from .notes import session_note
from .one_session import of_one_session
from .operations.replies import Changed
from .operations.session import (
    Exists,
    OtherVersion,
    create_session,
    delete_session,
    get_session,
    touch_session,
    update_session,
)
from .session_cap import SessionCap
from .session_state import CREATED_AT, FIELDS, HEAD, NEEDED, TITLED, VERSION, state_of

_ASKEW_MS = 100
"""By how much our clock may differ from the server's: no more than a call may take."""
_TRIES = 100
"""How often a patch is applied anew because somebody else was faster."""


class Sessions:
    """Creating, reading, changing and ending sessions."""

    def __init__(self, core: StoreCore, index: Index) -> None:
        self._core = core
        self._index = index
        self._cap = SessionCap(core, index)

    def create_session(
        self,
        session_id: str,
        data: Json | None = None,
        ttl: Duration | None = None,
        *,
        user_id: str | None = None,
        agent_name: str = "",
    ) -> bool:
        """Create a session with custom JSON ``data`` that lives ``ttl`` seconds after each use.

        ``ttl`` defaults to the configured ``session_ttl``; with "never" the session does not
        expire, except by ``session_max_age``. Returns True. Raises SessionExists (the one that is
        there stays as it is), InvalidInput, SessionTooLarge, TurnUncertain, or RateLimited: the
        user has ``max_sessions_per_user``, or tried ``max_new_sessions_per_minute``. Of the former
        those count that are there or just being made, so of several at once perhaps none gets the
        last place. Either costs one round trip, that two more where it is close.
        """
        check_session_id(session_id)
        ttl_ms = lifetime(self._core.config.session_ttl if ttl is None else ttl, "ttl")
        max_age = self._core.config.session_max_age
        max_age_ms = 0 if max_age is None else milliseconds(max_age, "session_max_age")
        if user_id is not None:
            check_user_id(user_id)
        if not isinstance(agent_name, str):
            raise InvalidInput(f"agent_name must be text, not {type(agent_name).__name__}")
        now = self._core.clock.time()
        record = self.document_record(
            session_id,
            {
                "session_id": session_id,
                "user_id": user_id,
                "agent_name": agent_name,
                "created_at": now,
                "data": check_object({} if data is None else data, "data"),
            },
        )
        operation = new_id()
        now_ms = round(now * 1000)
        end = now_ms + (min(ttl_ms, max_age_ms) if max_age_ms else ttl_ms)
        began = self._core.clock.monotonic()
        self._cap.count(user_id)
        is_new, server_ms = self._index.enter(session_id, user_id, now_ms, end)
        self._cap.check(session_id, user_id, is_new=is_new)
        on = self._core.on(session_id, user_id, operation=operation)
        created = create_session(
            on,
            operation=operation,
            document=record,
            ttl_ms=ttl_ms,
            max_age_ms=max_age_ms,
            agent_name=to_bytes(agent_name),
            full_id=full_id(session_id),
            channel=self._index.channel(),
            note=session_note(session_id, "session_created", last_activity_ms=server_ms),
        )
        if isinstance(created, Exists):
            raise SessionExists(session_id)
        took = self._core.clock.monotonic() - began
        if not is_new or took > FRESH_MS / 2000 or abs(server_ms - now_ms) > _ASKEW_MS:
            # What entered it may have been, or be, taken out with the earlier one of that id, or
            # it was entered by the time of a clock that is not the server's.
            self._index.put(session_id, on.user, server_ms, created.deadline_ms)
        return True

    def document_record(self, session_id: str, document: Json) -> bytes:
        """Return a document as it is stored; raises SessionTooLarge."""
        record = self._core.format.encode(document, self._core.where("session", session_id))
        if len(record) > (most := self._core.config.max_session_size):
            raise SessionTooLarge(session_id, len(record), most)
        return record

    def get_session(self, session_id: str, *, user_id: str | None = None) -> Json | None:
        """Return the session's custom data, or None if there is no such session for the user.

        Raises RecordUnreadable or StoreUnavailable.
        """
        try:
            return self.session_state(session_id, user_id=user_id).data
        except SessionNotFound:
            return None

    def session_state(self, session_id: str, *, user_id: str | None = None) -> SessionState:
        """Return the session's document and counters. Raises SessionNotFound, RecordUnreadable."""
        document, values = self.read(session_id, user_id)
        if None in values[:NEEDED] or not (values[HEAD] or b"0").isdigit():
            raise RecordUnreadable(
                self._core.keys.metadata(session_id), "one of its fields is lost"
            )
        try:
            return state_of(session_id, document, values)
        except ValueError as exc:
            raise RecordUnreadable(self._core.keys.metadata(session_id), str(exc)) from exc

    def read(self, session_id: str, user_id: str | None) -> tuple[Json, list[Any]]:
        """Return the document and the values of FIELDS."""
        raw, values = get_session(self._core.on(session_id, user_id), fields=FIELDS)
        try:
            document = self._core.format.decode(raw, self._core.where("session", session_id))
            if missing := {"user_id", "agent_name", "data"} - document.keys():
                raise Unreadable(f"it lacks {', '.join(sorted(missing))}")
        except Unreadable as exc:
            self._core.tally.unreadable_records += 1
            raise RecordUnreadable(self._core.keys.session(session_id), str(exc), raw) from exc
        return document, values

    @of_one_session
    def update_session(
        self,
        session_id: str,
        data: Json,
        *,
        expected_version: int | None = None,
        user_id: str | None = None,
    ) -> bool:
        """Replace the session's custom data and renew its time; return whether it was there.

        Atomic. The last writer wins, unless there is an ``expected_version``: that of
        ``session_state``, which changes with each turn and every other write. If the session has
        another one by then, SessionChanged is raised and nothing written. Raises InvalidInput,
        SessionTooLarge, TurnUncertain or StoreUnavailable, too.
        """
        if expected_version is not None:
            whole_number(expected_version, "expected_version")
        self._check_data(session_id, data, "data")
        try:
            while True:
                document, values = self.read(session_id, user_id)
                if self._replace_data(
                    session_id, user_id, document, data, values, expected_version
                ):
                    return True
        except SessionNotFound:
            return False

    @of_one_session
    def patch_session(self, session_id: str, patch: Json, *, user_id: str | None = None) -> bool:
        """Change some of the session's custom data, renew its time; return whether it was there.

        ``patch`` is a JSON Merge Patch (RFC 7396): what is in it takes the place of what was there,
        None removes, dicts are merged, and all else stays. Atomic: it is applied to the data as it
        is, and nothing that others write meanwhile is lost. Errors as of ``update_session``.
        """
        self._check_data(session_id, patch, "a patch")
        tries = _TRIES
        while True:
            tries -= 1
            try:
                document, values = self.read(session_id, user_id)
                data, version = merged(document["data"], patch), int(values[VERSION])
                if self._replace_data(session_id, user_id, document, data, values, version):
                    return True
            except SessionNotFound:
                return False
            except SessionChanged:  # somebody else was faster
                if not tries:
                    raise

    def _check_data(self, session_id: str, data: object, what: str) -> None:
        """Refuse what cannot be stored before anything is sent."""
        check_session_id(session_id)
        self.document_record(session_id, {"data": check_object(data, what)})

    def _replace_data(
        self,
        session_id: str,
        user_id: str | None,
        document: Json,
        data: Json,
        values: list[Any],
        expected: int | None,
    ) -> bool:
        """Store the document that was read with other data; ``values`` were read with it.

        Return False if its title is another one by now, so that it has to be read again.
        """
        record = self.document_record(session_id, {**document, "data": data})
        operation = new_id()
        on = self._core.on(session_id, user_id, operation=operation)
        # Not of one that was made meanwhile: it may be somebody else's.
        renewed = update_session(
            on,
            operation=operation,
            document=record,
            created_at=values[CREATED_AT] or b"",
            expected=expected,
            titled=values[TITLED] or b"",
        )
        if isinstance(renewed, Changed):
            return False
        if isinstance(renewed, OtherVersion):
            raise SessionChanged(session_id, expected or 0, renewed.version)
        self._index.mark(session_id, renewed)
        return True

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Remove the session and all that belongs to it; return whether it was there.

        One that others make with the same id, while a reply is lost and this call repeated,
        stays. Raises OutcomeUnknown (no reply came, it may have ended), NotDurable (it has, and
        would be back after a failover) or StoreUnavailable.
        """
        try:
            return self.end(session_id, user_id, new_id())
        except SessionNotFound:
            return False

    def end(self, session_id: str, user_id: str | None, operation: str, seal: bytes = b"") -> bool:
        """Remove the session, once by one operation; return False if it has another seal by now."""
        ended = delete_session(
            self._core.on(session_id, user_id),
            operation=operation,
            channel=self._index.channel(),
            note=session_note(session_id, "session_ended"),
            expected=seal,
        )
        if isinstance(ended, Changed):
            return False
        self._index.remove(session_id, ended.user)
        return True

    def touch_session(self, session_id: str, *, user_id: str | None = None) -> None:
        """Renew the session's time, as a resume does. Raises SessionNotFound."""
        self._touch(session_id, user_id, None)

    def extend_session_ttl(
        self, session_id: str, ttl: Duration | None, *, user_id: str | None = None
    ) -> bool:
        """Let the session live ``ttl`` seconds after each use from now on; whether it was there.

        With None, or "never", it does not expire, except by its ``session_max_age``.
        """
        try:
            self._touch(session_id, user_id, lifetime(ttl, "ttl"))
        except SessionNotFound:
            return False
        self._index.flush()  # it may end sooner now, and the sweep has to know
        return True

    def _touch(self, session_id: str, user_id: str | None, ttl_ms: int | None) -> None:
        renewed = touch_session(self._core.on(session_id, user_id), ttl_ms=ttl_ms)
        self._index.mark(session_id, renewed)
