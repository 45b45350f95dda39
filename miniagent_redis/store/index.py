"""Indexes: which sessions there are, by user, by last use and by deadline.

They are derived. An entry is written before its session, so a crash leaves at worst an entry
without one, which readers skip, and prune when it is old. The time of last use follows in batches:
``mark`` notes it, ``flush`` writes it (with a turn where there are few), and what is lost with a
process costs only the order of a listing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from ..errors import MiniAgentError, StoreMisconfigured, StoreUnavailable
from ..runtime.forking import reset_after_fork
from .checks import lifetime
from .core import StoreCore, log
from .keys import GRACE_MS, read_member, to_bytes, to_text
from .notes import session_note
from .operations.expiry import prune_entry
from .operations.replies import Renewed, Written
from .operations.thread import Appended, Cleared
from .waiting_calls import is_parked

FRESH_MS = 60_000
"""Age up to which an entry without a session may be that of one that is just being created."""
_STALE = 5.0
"""Seconds after which marks are written along with a call: the background thread is not there."""
_MOST_MARKS = 10_000
_MOST_OLD = 100


class _Mark(NamedTuple):
    """A use of a session: by the server's clock, and noted at ``at`` monotonic seconds."""

    user: bytes
    used_ms: int
    deadline_ms: int
    at: float


class Index:
    """The entries, and the marks that keep them in order."""

    def __init__(self, core: StoreCore) -> None:
        self._core = core
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._marks: dict[str, _Mark] = {}
        self._marks_since = 0.0
        self._marks_lock = threading.RLock()

    def channel(self) -> str:
        """Return the channel on which is told what becomes of sessions; "" if nobody is told."""
        return self._core.keys.session_updates()

    def enter(
        self, session_id: str, user_id: str | None, now_ms: int, deadline_ms: int
    ) -> tuple[bool, int]:
        """Enter a session that is about to be created.

        Return False if one is there, which stays: a session, or what one that has expired left.
        And the server's time, in ms.
        """
        shard, member = self._core.keys.shard(session_id), to_bytes(session_id)
        # The deadline first: the sweep starts from it, so no other entry stays without it.
        commands: list[tuple[Any, ...]] = [
            ("ZADD", self._core.keys.deadlines(shard), "NX", deadline_ms, member),
            ("ZADD", self._core.keys.sessions(shard), "NX", now_ms, member),
        ]
        if user_id is not None:
            commands.append(("ZADD", self._core.keys.user_sessions(user_id), "NX", now_ms, member))
        *is_new, time = self._core.call_many([*commands, ("TIME",)])
        return all(is_new), self._core.now_ms(time)

    def put(self, session_id: str, user: bytes, used_ms: int, deadline_ms: int) -> None:
        """Enter a session that is there, whatever the indexes say of it."""
        shard, member = self._core.keys.shard(session_id), to_bytes(session_id)
        commands: list[tuple[Any, ...]] = [
            ("ZADD", self._core.keys.deadlines(shard), deadline_ms, member),
            ("ZADD", self._core.keys.sessions(shard), used_ms, member),
        ]
        if user:
            name = to_text(user)
            commands.append(("ZADD", self._core.keys.user_sessions(name), used_ms, member))
        try:
            self._core.call_many(commands)
        except MiniAgentError as exc:  # the session is there, which is what counts
            log.warning("the session indexes could not be updated: %s", exc)

    def remove(self, session_id: str, user: bytes) -> None:
        """Take out a session that has ended; one that was created anew meanwhile stays in."""
        try:
            self.take_out([session_id], user)
        except MiniAgentError as exc:  # the session has ended; a dead entry does no harm
            log.warning("the session indexes could not be updated: %s", exc)

    def take_out(self, session_ids: Sequence[str], user: bytes) -> None:
        """Do what ``remove`` does for sessions of one user, in one round trip, or raise."""
        with self._marks_lock:
            for session_id in session_ids:
                self._marks.pop(session_id, None)
        keys = self._core.keys
        removing: list[tuple[Any, ...]] = []
        reading: list[tuple[Any, ...]] = []
        for session_id in session_ids:
            shard, member = keys.shard(session_id), to_bytes(session_id)
            indexes = [keys.sessions(shard), keys.deadlines(shard), keys.turns(shard)]
            if user:
                indexes.append(keys.user_sessions(to_text(user)))
            removing += [("ZREM", index, member) for index in indexes]
            wanted = ("user", "last_activity", "deadline")
            reading.append(("HMGET", keys.metadata(session_id), *wanted))
        found = self._core.call_many([*removing, *reading])[len(removing) :]
        for session_id, (new_user, used, deadline) in zip(session_ids, found, strict=True):
            if deadline is not None:
                # Its creation saw our entries and may have been done before we took them out. If it
                # is done only now, it sees that it has to enter the session itself.
                self.put(session_id, new_user, int(used), int(deadline))

    def enter_waiting(self, session_id: str, user_id: str | None) -> None:
        """Enter a session whose turn is about to be parked, and take out some that are too old."""
        now, keys, config = self._now_ms(), self._core.keys, self._core.config
        indexes = [keys.waiting(keys.shard(session_id))]
        if user_id is not None:
            indexes.append(keys.user_waiting(user_id))
        lives = [lifetime(config.session_ttl, "ttl"), lifetime(config.waiting_ttl, "ttl")]
        oldest = now - max(lives) - GRACE_MS
        part = ("-inf", oldest, "BYSCORE", "LIMIT", 0, _MOST_OLD)
        looking = [("ZRANGE", key, *part) for key in indexes]
        entering = [("ZADD", key, now, to_bytes(session_id)) for key in indexes]
        old = self._core.call_many([*looking, *entering])[: len(looking)]
        self._core.call_many(
            [("ZREM", key, *members) for key, members in zip(indexes, old, strict=True) if members]
        )

    def leave_waiting(self, session_id: str, user: bytes) -> None:
        """Take out a session whose turn was answered; one that has parked again stays in."""
        keys, member = self._core.keys, to_bytes(session_id)
        indexes = [keys.waiting(keys.shard(session_id))]
        if user:
            indexes.append(keys.user_waiting(to_text(user)))
        wanted = ("HMGET", keys.metadata(session_id), "turn", "waits")
        try:
            *_, (turn, waits) = self._core.call_many(
                [*(("ZREM", key, member) for key in indexes), wanted]
            )
            if is_parked(turn, waits):
                self._core.call_many([("ZADD", key, self._now_ms(), member) for key in indexes])
        except MiniAgentError as exc:  # a dead entry does no harm
            log.warning("the index of waiting sessions could not be updated: %s", exc)

    def forget_waiting(self, user_id: str) -> None:
        """Take out all that is entered of a user's sessions whose turn waited."""
        keys = self._core.keys
        index = keys.user_waiting(user_id)
        members = self._core.call("ZRANGE", index, 0, -1)
        shards = ((keys.waiting(keys.shard(read_member(member))), member) for member in members)
        self._core.call_many([*(("ZREM", *entry) for entry in shards), ("DEL", index)])

    def _now_ms(self) -> int:
        return round(self._core.clock.time() * 1000)

    def prune(self, key: str, session_id: str, score: str | bytes) -> None:
        """Take an entry out of one index unless it has another score than the one seen."""
        prune_entry(self._core, key, session_id=to_bytes(session_id), score=score)

    def mark(self, session_id: str, after: Written | Appended | Renewed | Cleared) -> None:
        """Note that the session was just used and when it will expire now. Sends nothing as a rule.

        The marks are bounded: the oldest are written with this call when nobody else does.
        """
        now = self._core.clock.monotonic()
        with self._marks_lock:
            if not self._marks:
                self._marks_since = now
            self._marks[session_id] = _Mark(after.user, after.now_ms, after.deadline_ms, now)
            overdue = now - self._marks_since > _STALE or len(self._marks) > _MOST_MARKS
        if overdue:
            self.flush()

    def flush(self) -> None:
        """Write the noted uses to the indexes and announce the sessions on ``session_updates``.

        Nothing is raised: they are derived data, and what they note is stored already. While
        Redis is away they are kept.
        """
        with suppress(StoreUnavailable):  # which is logged
            self.write()

    def write(self) -> None:
        """Do what ``flush`` does, and raise StoreUnavailable if Redis is away."""
        with self._marks_lock:
            marks, self._marks = self._marks, {}
        if not marks:
            return
        try:
            self._core.call_many(list(self._mark_commands(marks)))
        except StoreUnavailable as exc:
            log.warning("the session indexes could not be updated now: %s", exc)
            with self._marks_lock:
                self._marks = {**marks, **self._marks}
            raise
        except StoreMisconfigured as exc:
            log.warning("the session indexes could not be updated: %s", exc)

    def _mark_commands(self, marks: dict[str, _Mark]) -> Iterable[tuple[Any, ...]]:
        monotonic = self._core.clock.monotonic()
        for session_id, (user, used, deadline, at) in marks.items():
            shard, member = self._core.keys.shard(session_id), to_bytes(session_id)
            now = used + round((monotonic - at) * 1000)
            # One that has passed must not make due again what a sweep has claimed.
            condition = ("XX", "GT") if deadline <= now else ("XX",)
            yield ("ZADD", self._core.keys.deadlines(shard), *condition, deadline, member)
            indexes = [self._core.keys.sessions(shard)]
            if user:
                indexes.append(self._core.keys.user_sessions(to_text(user)))
            for key in indexes:
                # XX: a session that has ended meanwhile does not come back as an entry. GT: others
                # may have used it since; but nothing was used later than now, only by a clock that
                # has been put back.
                yield "ZADD", key, "XX", "LT", now, member
                yield "ZADD", key, "XX", "GT", used, member
            note = session_note(session_id, "session_changed", last_activity_ms=used)
            yield "PUBLISH", self.channel(), note
