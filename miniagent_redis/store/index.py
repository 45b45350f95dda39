"""Indexes: which sessions there are, by user, by last use and by deadline.

They are derived. An entry is written before its session, so a crash leaves at worst an entry
without one, which readers skip, and prune when it is old. The time of last use follows in batches:
``mark_active`` notes it, ``flush_marks`` writes it, and what is lost with a process costs only the
order of a listing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import MiniAgentError, StoreMisconfigured, StoreUnavailable
from ..forking import anew_in_child
from ..models import isoformat
from ..scripts import ReplyLost
from .base import StoreBase, log

FRESH_MS = 60_000
"""Age up to which an entry without a session may be that of one that is just being created."""
_STALE = 5.0
"""Seconds after which marks are written along with a call: the background thread is not there."""
_MOST_MARKS = 10_000


class Index(StoreBase):
    """The entries, and the marks that keep them in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._start_marking_anew()
        anew_in_child(self._start_marking_anew)

    def _start_marking_anew(self) -> None:
        self._marks: dict[str, tuple[bytes, int, int]] = {}
        self._marks_since = 0.0
        self._marks_lock = threading.RLock()

    def add_to_indexes(
        self, session_id: str, user_id: str | None, now_ms: int, deadline_ms: int
    ) -> bool:
        """Enter a session that is about to be created; return False if one is there, which stays.

        It is a session, or what one that has expired left.
        """
        shard = self.keys.shard(session_id)
        # The deadline first: the sweep starts from it, so no other entry stays without it.
        commands = [
            ("ZADD", self.keys.deadlines(shard), "NX", deadline_ms, session_id),
            ("ZADD", self.keys.sessions(shard), "NX", now_ms, session_id),
        ]
        if user_id is not None:
            commands.append(("ZADD", self.keys.user_sessions(user_id), "NX", now_ms, session_id))
        return all(self._call_many(commands))

    def _put_in_indexes(self, session_id: str, user: bytes, used_ms: int, deadline_ms: int) -> None:
        """Enter a session that is there, whatever the indexes say of it."""
        shard = self.keys.shard(session_id)
        commands: list[tuple[Any, ...]] = [
            ("ZADD", self.keys.deadlines(shard), deadline_ms, session_id),
            ("ZADD", self.keys.sessions(shard), used_ms, session_id),
        ]
        if user:
            name = user.decode("utf-8", "surrogatepass")
            commands.append(("ZADD", self.keys.user_sessions(name), used_ms, session_id))
        try:
            self._call_many(commands)
        except MiniAgentError as exc:  # the session is there, which is what counts
            log.warning("the session indexes could not be updated: %s", exc)

    def remove_from_indexes(self, session_id: str, user: bytes) -> None:
        """Take out a session that has ended; one that was created anew meanwhile stays in."""
        with self._marks_lock:
            self._marks.pop(session_id, None)
        shard = self.keys.shard(session_id)
        commands: list[tuple[Any, ...]] = [
            ("ZREM", self.keys.sessions(shard), session_id),
            ("ZREM", self.keys.deadlines(shard), session_id),
        ]
        if user:
            name = user.decode("utf-8", "surrogatepass")
            commands.append(("ZREM", self.keys.user_sessions(name), session_id))
        wanted = ("user", "last_activity", "deadline")
        commands.append(("HMGET", self.keys.metadata(session_id), *wanted))
        try:
            new_user, used, deadline = self._call_many(commands)[-1]
        except MiniAgentError as exc:  # the session has ended; a dead entry does no harm
            log.warning("the session indexes could not be updated: %s", exc)
            return
        if deadline is not None:
            # Its creation saw our entries and may have been done before we took them out. If it
            # is done only now, it sees that it has to enter the session itself.
            self._put_in_indexes(session_id, new_user, int(used), int(deadline))

    def _prune_entry(self, key: str, session_id: str, score: str | bytes) -> None:
        """Take an entry out unless it has another score than the one seen."""
        self._run_on(key, "prune_entry", session_id, score)

    def _run_on(self, key: str, name: str, *args: str | bytes | int) -> list[Any]:
        """Run a script on one index. Raises StoreUnavailable or StoreMisconfigured."""
        try:
            return self.scripts.run(name, [key], args)
        except ReplyLost as exc:
            raise self.connections.unavailable(str(exc)) from exc

    def mark_active(self, session_id: str, deadline_ms: int, user: bytes) -> None:
        """Note that the session was just used and when it will expire now. Sends nothing as a rule.

        The marks are bounded: the oldest are written with this call when nobody else does.
        """
        now = self.clock.time()
        with self._marks_lock:
            if not self._marks:
                self._marks_since = now
            self._marks[session_id] = user, round(now * 1000), deadline_ms
            overdue = now - self._marks_since > _STALE or len(self._marks) > _MOST_MARKS
        if overdue:
            self.flush_marks()

    def flush_marks(self) -> None:
        """Write the noted uses to the indexes and announce the sessions on ``session_updates``.

        Nothing is raised: they are derived data, and what they note is stored already. While
        Redis is away they are kept.
        """
        with suppress(StoreUnavailable):  # which is logged
            self._write_marks()

    def _write_marks(self) -> None:
        """Do what ``flush_marks`` does, and raise StoreUnavailable if Redis is away."""
        with self._marks_lock:
            marks, self._marks = self._marks, {}
        if not marks:
            return
        try:
            self._call_many(list(self._mark_commands(marks)))
        except StoreUnavailable as exc:
            log.warning("the session indexes could not be updated now: %s", exc)
            with self._marks_lock:
                self._marks = {**marks, **self._marks}
            raise
        except StoreMisconfigured as exc:
            log.warning("the session indexes could not be updated: %s", exc)

    def _mark_commands(self, marks: dict[str, tuple[bytes, int, int]]) -> Iterable[tuple[Any, ...]]:
        now = round(self.clock.time() * 1000)
        for session_id, (user, used, deadline) in marks.items():
            shard = self.keys.shard(session_id)
            # XX: a session that has ended meanwhile does not come back as an entry.
            yield "ZADD", self.keys.sessions(shard), "XX", "GT", used, session_id
            # One that has passed must not make due again what a sweep has claimed.
            condition = ("XX", "GT") if deadline <= now else ("XX",)
            yield ("ZADD", self.keys.deadlines(shard), *condition, deadline, session_id)
            if user:
                name = user.decode("utf-8", "surrogatepass")
                yield "ZADD", self.keys.user_sessions(name), "XX", "GT", used, session_id
            note = json.dumps({"session_id": session_id, "last_activity": isoformat(used / 1000)})
            yield "PUBLISH", self.keys.session_updates(), note
