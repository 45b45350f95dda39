"""A new id for a session: after a login the one that was known before is worth nothing.

The two ids are in different slots of a cluster, so no script sees both. The session is copied, the
old one removed if it is still what was copied, and the new one given its time to live.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256

from ..errors import (
    InvalidInput,
    MiniAgentError,
    RecordUnreadable,
    SessionBusy,
    SessionNotFound,
    StoreUnavailable,
)
from ..models import new_id as random_id
from ..records.frame import Unreadable
from ..records.json import Json
from .branch_index import BranchIndex
from .core import StoreCore, log
from .index import Index
from .keys import check_session_id, check_user_id, full_id, to_bytes, to_text
from .message_records import MessageRecords
from .moving import SessionCopy, fields_of, put_session
from .notes import session_note
from .one_session import of_one_session
from .operations.moving import Whole, read_session
from .operations.session import get_session, touch_session
from .operations.thread import Running
from .recovery import Recovery
from .session_state import origin_of
from .sessions import Sessions
from .threads import Threads

UNUSED_MS = 3_600_000
"""For how long a session that was moved is kept if nobody uses it: an hour."""
_TRIES = 20
"""How often all is copied anew because others were faster."""
_OF_THE_OLD = frozenset((b"id", b"next", b"asked", b"told_since", b"moved"))
_OF_THE_OLD_OPS = frozenset((b"ended", b"ended_at"))


class Renewal:
    """Moving a session to another id."""

    def __init__(
        self,
        core: StoreCore,
        sessions: Sessions,
        threads: Threads,
        index: Index,
        records: MessageRecords,
        recovery: Recovery,
        branch_index: BranchIndex,
    ) -> None:
        self._core = core
        self._branch_index = branch_index
        self._recovery = recovery
        self._sessions = sessions
        self._threads = threads
        self._index = index
        self._records = records

    @of_one_session
    def renew_session_id(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        new_id: str | None = None,
        new_user_id: str | None = None,
    ) -> str:
        """Move a session to a new id, random as a rule, and return that; the old one is over.

        Call it when somebody logs in, or gets other rights: who knew the id before has nothing
        (session fixation). The new session has the data, the messages with their positions, ids and
        turns, the counters, the version, the end, an abandoned turn, and what is remembered of
        operations. ``new_user_id`` gives it an owner: that of who logged in. It counts as a use.
        Its events begin anew, and so do limits that count per session.

        For the old id all calls raise SessionNotFound from then on: commits and appends that come
        late, too, and its watchers end. It is removed, in one step, only if nothing was changed
        since it was copied; else it is copied again. Nothing is removed while a turn is running:
        SessionBusy, at once, and also if others write on and on.

        The two steps are not atomic together. Who breaks off before the old session is removed
        leaves it whole, and perhaps a copy that nobody knows; who breaks off behind that leaves
        the new one, which its owner finds in ``list_sessions``. Both expire after an hour unless
        they are used. To repeat a call whose end is not known (OutcomeUnknown), give the
        ``new_id``: the repetition returns it if the session is there. If it raises SessionExists
        then, the old session is still there too; take another id.

        Costs some ten round trips. Raises SessionNotFound, SessionBusy, SessionExists (``new_id``
        is taken, or was within the last minute), InvalidInput, RecordUnreadable (the document, or
        messages that are lost), NotDurable (replicas of either slot do not confirm it; the old
        session goes only when those of the new one do) or StoreUnavailable.
        """
        check_session_id(session_id)
        target = random_id() if new_id is None else check_session_id(new_id)
        if target == session_id:
            raise InvalidInput(f"{session_id[:60]!r} is the id that the session has")
        if new_user_id is not None:
            check_user_id(new_user_id)
        source = sha256(to_bytes(session_id)).hexdigest()[:32]
        removal = sha256(to_bytes(f"{source} {target}")).hexdigest()[:32]
        earlier = ""
        try:
            for _ in range(_TRIES):
                found = read_session(self._core.on(session_id, user_id))
                if isinstance(found, Running):
                    raise SessionBusy(session_id, found.left_ms / 1000)
                copy = self._copied(session_id, user_id, found, target, new_user_id)
                operation = f"{source}{random_id()}"
                if copy is None or not self._put(target, copy, operation, earlier):
                    continue
                earlier = operation
                if self._sessions.end(session_id, user_id, removal, found.seal):
                    self._tell_origin(copy, target)
                    return self._used(target)
            raise SessionBusy(session_id, 0.0)
        except (SessionNotFound, SessionBusy) as exc:  # it was not removed by this call
            if earlier:
                self._drop(target)
                raise
            is_over = new_id is not None and isinstance(exc, SessionNotFound)
            if not (is_over and self._is_moved(target, source, new_user_id or user_id)):
                raise
            with suppress(SessionNotFound):  # it was, by an earlier one, which replicas confirm
                self._sessions.end(session_id, user_id, removal)
            return self._used(target)

    def _copied(
        self,
        session_id: str,
        user_id: str | None,
        found: Whole,
        target: str,
        new_user_id: str | None,
    ) -> SessionCopy | None:
        """Return what to store under the new id; None if the thread has changed by now."""
        metadata = _pairs(found.metadata, _OF_THE_OLD)
        thread = self._threads.load_thread(session_id, user_id=user_id)
        count, head = int(metadata[b"message_count"]), int(metadata.get(b"head", b"0"))
        version = int(metadata[b"version"])
        if (thread.version, thread.count, thread.head) != (version, count, head):
            return None
        records = self._records.encode_anew(target, thread)
        size = sum(map(len, records))
        staged = self._records.decode(session_id, found.staged, what="turn")
        records += self._records.encode_anew(target, staged)
        document = self._document(session_id, found.document)
        document["session_id"] = target
        owner = metadata[b"user"]
        if new_user_id is not None:
            document["user_id"], owner = new_user_id, check_user_id(new_user_id)
        metadata.update({
            b"user": owner, b"bytes": b"%d" % size, b"events": b"1",
            b"holder": b"", b"lease": b"0", b"cancel": b"",
        })  # fmt: skip
        if full := full_id(target):
            metadata[b"id"] = full
        ops = _pairs(found.ops, _OF_THE_OLD_OPS)
        return SessionCopy(
            self._core.format.encode(document, self._core.where("session", target)),
            fields_of(metadata, ops),
            records,
            len(found.staged),
            to_text(owner) or None,
            (origin_of(document) or {}).get("session_id"),
        )

    def _document(self, session_id: str, raw: bytes) -> Json:
        try:
            return self._core.format.decode(raw, self._core.where("session", session_id))
        except Unreadable as exc:
            raise RecordUnreadable(self._core.keys.session(session_id), str(exc), raw) from exc

    def _put(self, target: str, copy: SessionCopy, operation: str, earlier: str) -> bool:
        """Store the copy; return False if somebody else has put something there meanwhile."""
        now_ms = round(self._core.clock.time() * 1000)
        _, server_ms = self._index.enter(target, copy.user_id, now_ms, now_ms + UNUSED_MS)
        if copy.staged:  # whoever looks finds whether that turn asked for it
            self._recovery.ask(target)
            self._index.enter_waiting(target, copy.user_id)  # perhaps
        note = session_note(target, "session_created", last_activity_ms=server_ms)
        return put_session(
            self._core.on(target),
            copy,
            operation=operation,
            replaces=earlier,
            hold_ms=UNUSED_MS,
            channel=self._index.channel(),
            note=note,
        )

    def _tell_origin(self, copy: SessionCopy, target: str) -> None:
        """Have the session that this one is a branch of know its new id, as long as it is there."""
        if copy.origin is not None:
            with suppress(MiniAgentError):
                self._branch_index.note(copy.origin, target)

    def _drop(self, target: str) -> None:
        """Remove a copy that is not needed; else it expires."""
        with suppress(MiniAgentError):
            self._sessions.delete_session(target)

    def _used(self, target: str) -> str:
        """Give the new session its time to live, as any use does; return its id."""
        try:
            used = touch_session(self._core.on(target))
        except StoreUnavailable as exc:  # the session is there, which is what counts
            log.warning("a session that was moved could not be used at once: %s", exc)
        else:
            self._index.put(target, used.user, used.now_ms, used.deadline_ms)
        return target

    def _is_moved(self, target: str, source: str, user_id: str | None) -> bool:
        """Whether an earlier call has moved the session to that id."""
        try:
            (moved,) = get_session(self._core.on(target, user_id), fields=["moved"]).values
        except SessionNotFound:
            return False
        return moved is not None and moved.startswith(source.encode())


def _pairs(flat: Sequence[bytes], without: frozenset[bytes]) -> dict[bytes, bytes]:
    """Return the fields of a hash in their order, but for some of them."""
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {name: value for name, value in pairs if name not in without}
