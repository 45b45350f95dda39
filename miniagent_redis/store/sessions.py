"""Sessions: the document that says who, when and with what data; its existence is the session."""

from __future__ import annotations

from typing import Any

from ..codec import Json, Unreadable, upcast
from ..errors import InvalidInput, RecordUnreadable, SessionExists, SessionNotFound, SessionTooLarge
from ..keys import check_session_id, check_user_id
from ..models import SessionState, new_id
from .base import check_data, milliseconds
from .index import FRESH_MS, Index

_FIELDS = (
    "created_at", "last_activity", "deadline", "message_count", "bytes", "turns",
    "input_tokens", "output_tokens", "tool_calls", "version", "turn",
)  # fmt: skip


class Sessions(Index):
    """Creating, reading, changing and ending sessions."""

    def create_session(
        self,
        session_id: str,
        data: Json | None = None,
        ttl: float | None = None,
        *,
        user_id: str | None = None,
        agent_name: str = "",
    ) -> bool:
        """Create a session with custom JSON ``data`` that lives ``ttl`` seconds after each use.

        ``ttl`` defaults to the configured ``session_ttl``. Returns True. Raises SessionExists
        (the one that is there stays as it is), InvalidInput, SessionTooLarge or TurnUncertain.
        """
        check_session_id(session_id)
        ttl_ms = milliseconds(self.config.session_ttl if ttl is None else ttl, "ttl")
        max_age = self.config.session_max_age
        max_age_ms = 0 if max_age is None else milliseconds(max_age, "session_max_age")
        if user_id is not None:
            check_user_id(user_id)
        if not isinstance(agent_name, str):
            raise InvalidInput(f"agent_name must be text, not {type(agent_name).__name__}")
        now = self.clock.time()
        record = self._document_record(
            session_id,
            {
                "v": 1,
                "session_id": session_id,
                "user_id": user_id,
                "agent_name": agent_name,
                "created_at": now,
                "data": check_data({} if data is None else data, "data"),
            },
        )
        operation = new_id()
        now_ms = round(now * 1000)
        end = now_ms + (min(ttl_ms, max_age_ms) if max_age_ms else ttl_ms)
        is_new = self.add_to_indexes(session_id, user_id, now_ms, end)
        reply = self._run(
            "create_session",
            session_id,
            user_id,
            operation,
            record,
            ttl_ms,
            max_age_ms,
            agent_name.encode("utf-8", "surrogatepass"),
            operation=operation,
        )
        if reply[0] == "exists":
            raise SessionExists(session_id)
        if not is_new or self.clock.time() - now > FRESH_MS / 2000:
            # What entered it may have been, or be, taken out with the earlier one of that id.
            owner = b"" if user_id is None else check_user_id(user_id)
            self._put_in_indexes(session_id, owner, now_ms, reply[2])
        return True

    def _document_record(self, session_id: str, document: Json) -> bytes:
        record = self._record(document)
        if len(record) > self.config.max_session_size:
            raise SessionTooLarge(session_id, len(record), self.config.max_session_size)
        return record

    def get_session(self, session_id: str, *, user_id: str | None = None) -> Json | None:
        """Return the session's custom data, or None if there is no such session for the user."""
        try:
            return self.session_state(session_id, user_id=user_id).data
        except SessionNotFound:
            return None

    def session_state(self, session_id: str, *, user_id: str | None = None) -> SessionState:
        """Return the session's document and counters. Raises SessionNotFound, RecordUnreadable."""
        document, values = self._read(session_id, user_id)
        created, used, deadline, *numbers, turn = values
        if None in values[:-1]:
            raise RecordUnreadable(self.keys.metadata(session_id), "one of its fields is lost")
        messages, size, turns, input_tokens, output_tokens, tool_calls, version = map(int, numbers)
        return SessionState(
            session_id=session_id,
            user_id=document["user_id"],
            agent_name=document["agent_name"],
            data=document["data"],
            created_at=int(created) / 1000,
            last_activity=int(used) / 1000,
            expires_at=int(deadline) / 1000,
            message_count=messages,
            bytes=size,
            turns=turns,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            tool_calls=tool_calls,
            version=version,
            open_turn=turn.decode() if turn else None,
        )

    def _read(self, session_id: str, user_id: str | None) -> tuple[Json, list[Any]]:
        """Return the document and the values of _FIELDS."""
        _, raw, values = self._run("get_session", session_id, user_id, *_FIELDS)
        try:
            data = self._data(raw)
            if isinstance(data, Unreadable):
                raise data
            document = upcast(data, f"session {session_id!r}")
            if missing := {"user_id", "agent_name", "data"} - document.keys():
                raise Unreadable(f"it lacks {', '.join(sorted(missing))}")
        except Unreadable as exc:
            self.unreadable_records += 1
            raise RecordUnreadable(self.keys.session(session_id), str(exc), raw) from exc
        return document, values

    def update_session(self, session_id: str, data: Json, *, user_id: str | None = None) -> bool:
        """Replace the session's custom data and renew its time; return whether it was there.

        Atomic, the last writer wins: hold ``lock(session_id)`` around read-change-write.
        """
        check_data(data, "data")
        try:
            document, _ = self._read(session_id, user_id)
            document.pop("crc", None)
            record = self._document_record(session_id, {**document, "data": data})
            operation = new_id()
            reply = self._run(
                "update_session", session_id, user_id, operation, record, operation=operation
            )
        except SessionNotFound:
            return False
        self.mark_active(session_id, reply[2], reply[3])
        return True

    def delete_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Remove the session and all that belongs to it; return whether it was there."""
        try:
            reply = self._run("delete_session", session_id, user_id)
        except SessionNotFound:
            return False
        self.remove_from_indexes(session_id, reply[1])
        return True

    def touch_session(self, session_id: str, *, user_id: str | None = None) -> None:
        """Renew the session's time, as a resume does. Raises SessionNotFound."""
        self._touch(session_id, user_id, "")

    def extend_session_ttl(
        self, session_id: str, ttl: float, *, user_id: str | None = None
    ) -> bool:
        """Let the session live ``ttl`` seconds after each use from now on; whether it was there."""
        try:
            self._touch(session_id, user_id, milliseconds(ttl, "ttl"))
        except SessionNotFound:
            return False
        self.flush_marks()  # it may end sooner now, and the sweep has to know
        return True

    def _touch(self, session_id: str, user_id: str | None, ttl_ms: int | str) -> None:
        reply = self._run("touch_session", session_id, user_id, ttl_ms)
        self.mark_active(session_id, reply[2], reply[3])
