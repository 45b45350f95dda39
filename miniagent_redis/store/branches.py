"""Branches: new sessions that begin with what another one has, up to some place in it.

Records are bound to their session when they are encrypted, and the two sessions are in different
slots of a cluster, so no script copies them: a process reads and writes them, in pages.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from attrs import evolve, frozen

from ..errors import MiniAgentError, SessionBusy, SessionExists, SessionNotFound, SessionTooLarge
from ..models import new_id as random_id
from ..records.json import Json
from ..runtime.durations import Duration
from .branch_index import Branch, BranchIndex
from .checks import lifetime, milliseconds
from .core import StoreCore, log
from .index import FRESH_MS, Index
from .keys import NEVER_MS, check_session_id, full_id, to_bytes, to_text
from .listing import Listing
from .message_records import MessageRecords
from .moving import SessionCopy, fields_of, new_counters, put_session
from .notes import session_note
from .one_session import of_one_session
from .operations.session import get_session
from .places import At, Places
from .session_cap import SessionCap
from .session_state import AGENT, EPOCH, TTL, USER
from .sessions import Sessions
from .threads import Threads
from .titles import Titles, check_title

_TRIES = 20
"""How often all is copied anew because others removed messages meanwhile."""
_GONE = 3
"""How often in one call what was just there may be gone, as others put theirs in its place."""


@frozen
class _Wanted:
    """What is asked for: see ``fork_session``."""

    target: str
    at: At | None = None
    before: bool = False
    title: str | None = None
    ttl_ms: int | None = None
    user_id: str | None = None
    replaces: str = ""


class Branches:
    """Making branches, and telling which ones a session has."""

    def __init__(
        self,
        core: StoreCore,
        sessions: Sessions,
        threads: Threads,
        index: Index,
        records: MessageRecords,
        listing: Listing,
        branch_index: BranchIndex,
        titles: Titles,
    ) -> None:
        self._titles = titles
        self._core = core
        self._sessions = sessions
        self._threads = threads
        self._index = index
        self._records = records
        self._listing = listing
        self._noted = branch_index
        self._cap = SessionCap(core, index)
        self.places: Places = Places(core, threads)

    @of_one_session
    def fork_session(
        self,
        session_id: str,
        at: At | None = None,
        *,
        before: bool = False,
        new_id: str | None = None,
        title: str | None = None,
        ttl: Duration | None = None,
        user_id: str | None = None,
    ) -> str:
        """Make a session that has another one's messages up to a place; return its id.

        ``at`` is the id of a turn or of a message, which is the last that the branch has, or with
        ``before`` the first that it has not; or how many messages it has; None: all. A turn that
        is open is not in it. The branch belongs to the same user and agent, and has a copy of the
        data, the messages with their ids and turns, the ``title`` (or the one given), the time to
        live (or ``ttl``), and a deadline, a version and counters of its own; it counts for no
        usage. ``session_state`` and ``list_sessions`` tell its ``forked_from``, ``list_branches``
        tells of it.

        The other session is not changed, and may be worked on meanwhile. All or nothing: the
        branch is there with all its messages, or there is none. To repeat a call whose end is not
        known (OutcomeUnknown), give the ``new_id``: the repetition returns it. Some seven round
        trips, and one for each 1,000 messages or MiB, there and back. Raises SessionNotFound,
        InvalidInput (no such place, or it would part a call from its results), SessionExists
        (``new_id`` is taken, or was within the last minute), RateLimited
        (``max_sessions_per_user``), SessionTooLarge, RecordUnreadable, SessionBusy (others remove
        messages all the time) or StoreUnavailable.
        """
        check_session_id(session_id)
        target = random_id() if new_id is None else check_session_id(new_id)
        check_title(title)
        ttl_ms = None if ttl is None else lifetime(ttl, "ttl")
        what = sha256(repr((session_id, at, before)).encode("utf-8", "surrogatepass"))
        source = what.hexdigest()[:32]
        if new_id is not None and self._is_made(target, source, user_id):
            return target
        wanted = _Wanted(target, at, before, title, ttl_ms, user_id)
        for _ in range(_TRIES):
            try:
                if self._fork(session_id, wanted, source) is not None:
                    return target
            except SessionExists:
                if new_id is None or not self._is_made(target, source, user_id):
                    raise
                return target  # by a repetition that was faster
        raise SessionBusy(session_id, 0.0)

    def keep_all(
        self,
        session_id: str,
        target: str,
        user_id: str | None,
        is_done: Callable[[], bool],
        earlier: str = "",
    ) -> Branch:
        """Make a branch of the whole thread, for a session that goes back; errors as above.

        In the place of an ``earlier`` one, by its operation. One that the same call has made, at
        another place or before, is returned if it has all still. It is replaced where it has not
        and nobody can go back by it any more: SessionExists if that ``is_done``.
        """
        source = sha256(b"all " + to_bytes(session_id)).hexdigest()[:32]
        wanted, gone = _Wanted(target, user_id=user_id, replaces=earlier), 0
        for _ in range(_TRIES):
            try:
                made = self._fork(session_id, wanted, source)
            except SessionExists:
                found, version = self._moved(target, user_id)
                if not version and gone < _GONE:  # others of the same call replace it just now
                    gone += 1
                    continue
                if version != b"1" or not found.startswith(source):
                    raise
                kept, now = Branch.of(target, found), self._now(session_id, user_id)
                if (kept.epoch, kept.version) == now:
                    return kept
                if kept.epoch != now[0] and is_done():  # looked at behind what was asked for now
                    raise
                wanted = evolve(wanted, replaces=found)
                continue
            if made is not None:
                return made
        raise SessionBusy(session_id, 0.0)

    def _fork(self, session_id: str, wanted: _Wanted, source: str) -> Branch | None:
        """Make the branch; None if others changed too much meanwhile."""
        target, user_id = wanted.target, wanted.user_id
        self._titles.write()  # the branch is called as the session is about to be
        document, values = self._sessions.read(session_id, user_id)
        epoch = int(values[EPOCH] or 0)
        if wanted.at is None:
            found = self._threads.load_thread(session_id, user_id=user_id)
            position = found.count
        else:
            place = self.places.find(session_id, wanted.at, user_id, before=wanted.before)
            found = self._threads.load_first(session_id, place.position, user_id)
            position = place.position if place.epoch == epoch else -1
        if position < 0 or found.epoch != epoch:
            return None
        operation = f"{source}.{epoch}.{found.version}.{random_id()}"
        records = self._records.encode_anew(target, found)
        size, most = sum(map(len, records)), self._core.config.max_session_size
        if size > most:
            raise SessionTooLarge(target, size, most)
        origin: Json = {
            "session_id": session_id,
            "turn_id": found.messages[-1].turn_id if found.messages else None,
            "position": position,
        }
        document |= {"session_id": target, "created_at": self._core.clock.time()}
        document |= {"forked_from": origin} | ({"title": wanted.title} if wanted.title else {})
        record = self._sessions.document_record(target, document)
        ttl_ms = int(values[TTL] or NEVER_MS) if wanted.ttl_ms is None else wanted.ttl_ms
        owner = values[USER] or b""
        now_ms, end_ms, max_end = self._enter(session_id, wanted, to_text(owner) or None, ttl_ms)
        metadata = {
            **new_counters(now_ms, position, size),
            b"ttl": b"%d" % ttl_ms, b"max_end": b"%d" % max_end,
            b"user": owner, b"agent": values[AGENT] or b"",
        }  # fmt: skip
        if full := full_id(target):
            metadata[b"id"] = full
        if found.head:
            metadata[b"head"] = b"%d" % found.head
        ops = {b"1": f"{operation} 1 ".encode()}  # as the script that creates a session has it
        is_put = put_session(
            self._core.on(target),
            SessionCopy(record, fields_of(metadata, ops), records, 0, None),
            operation=operation,
            replaces=wanted.replaces,
            hold_ms=NEVER_MS,
            channel=self._index.channel(),
            note=session_note(target, "session_created", last_activity_ms=now_ms),
        )
        if not is_put:
            return None
        # What entered it may have been taken out with an earlier one of that id.
        self._index.put(target, owner, now_ms, end_ms)
        return Branch(target, operation, found.epoch, found.version)

    def _enter(
        self, session_id: str, wanted: _Wanted, owner: str | None, ttl_ms: int
    ) -> tuple[int, int, int]:
        """Enter the branch in all lists; return the server's time, its deadline, its absolute end.

        In ms; the last is 0 if there is none.
        """
        config, target = self._core.config, wanted.target
        max_age, max_age_ms = config.session_max_age, 0
        if max_age is not None:
            max_age_ms = milliseconds(max_age, "session_max_age")
        life = min(ttl_ms, max_age_ms or ttl_ms)
        now_ms = round(self._core.clock.time() * 1000)
        self._cap.count(owner)
        is_new, server_ms = self._index.enter(target, owner, now_ms, now_ms + life)
        self._cap.check(target, owner, is_new=is_new)
        self._noted.note(session_id, target, wanted.user_id)
        return server_ms, server_ms + life, max_age_ms and server_ms + max_age_ms

    def _is_made(self, target: str, source: str, user_id: str | None) -> bool:
        """Whether an earlier call has made that branch of the session."""
        return self._moved(target, user_id)[0].startswith(source)

    def _now(self, session_id: str, user_id: str | None) -> tuple[int, int]:
        """Return epoch and version of a session."""
        found = get_session(self._core.on(session_id, user_id), fields=["epoch", "version"])
        epoch, version = (int(value or 0) for value in found.values)
        return epoch, version

    def _moved(self, target: str, user_id: str | None) -> tuple[str, bytes]:
        """Return by which operation a session was put there, "" if by none, and its version."""
        try:
            found = get_session(self._core.on(target, user_id), fields=["moved", "version"])
        except SessionNotFound:
            return "", b""
        moved, version = found.values
        return to_text(moved or b""), version or b""

    def list_branches(self, session_id: str, *, user_id: str | None = None) -> list[dict[str, Any]]:
        """List the branches that were made of a session and are alive, the newest first.

        Each entry is as in ``list_sessions``. The newest 100 are kept in mind. Two round trips;
        one more takes out those that have ended. Raises SessionNotFound or StoreUnavailable.
        """
        owner, entries = self._noted.read(session_id, user_id)
        if not entries:
            return []
        alive, _ = self._listing.look(entries, owner)
        here = {each["session_id"] for each in alive}
        self._strike(session_id, [entry for entry in entries if entry[1] not in here])
        return alive

    def _strike(self, session_id: str, over: list[tuple[float, str]]) -> None:
        """Take out branches that are over, unless they may be just being made."""
        if not over:
            return
        try:
            now = self._core.now_ms(self._core.call("TIME"))
            if old := [branch for at, branch in over if at <= now - FRESH_MS]:
                self._noted.strike(session_id, old)
        except MiniAgentError as exc:
            log.warning("the branches of a session could not be pruned: %s", exc)
