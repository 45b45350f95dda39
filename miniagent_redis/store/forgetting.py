"""Forgetting a user: nothing of him stays in the namespace, and what comes late is refused.

What bears him is found by his index and by keys that are made of his id; the keyspace is never
scanned. Caches and named locks are not: their keys are digests and names of the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from attrs import evolve

from ..errors import SessionNotFound, StoreMisconfigured
from ..models import Forgotten, Per, RateLimit, new_id
from ..runtime.checks import several
from .budgets import Budgets
from .core import StoreCore, log
from .index import FRESH_MS, Index
from .keys import check_user_id, read_member, to_bytes, to_text
from .limits import Limits
from .notes import session_note
from .operations.replies import Gone
from .operations.session import Ended, Others, forget_session
from .usage import UsageCounts

PAGE = 100
"""So many sessions are in memory at a time."""
Told = Callable[[str], object]


class Forgetting:
    """Removing all that is stored of a user."""

    def __init__(
        self, core: StoreCore, index: Index, limits: Limits, budgets: Budgets, usage: UsageCounts
    ) -> None:
        self._core = core
        self._index = index
        self._limits = limits
        self._budgets = budgets
        self._usage = usage

    def forget_user(self, user_id: str, *, limits: Sequence[RateLimit] = ()) -> Forgotten:
        """Remove all that is stored of a user in this namespace; return what that was.

        Sessions with all that belongs to them, those that have expired too, of which no hook is
        told; what is counted of the user and those sessions in the windows of ``limits`` (in others
        it ends by itself, after twice the window), and of budgets; the totals of what the user's
        turns took.
        A turn or message that comes later for such a session is refused, as for one that was
        deleted. What holds no name of the user is not found: values in caches, which end with their
        ttl, locks, and sessions that were made without a ``user_id``.

        Goes on until the user has no session. So one that is created meanwhile is removed, if its
        creation began before this looked for the last time; later ones are none of this call's, so
        see first that the user cannot begin any. A turn that runs meanwhile is not stored, but its
        process may still count what it took. ``left`` says if something may have to be done again.

        Safe to repeat; each session goes at once or not at all. Blocks for a round trip for each
        session and a few for each 100. A session that cannot be removed stops no other; its
        StoreMisconfigured is raised at the end. Raises OutcomeUnknown or StoreUnavailable at once,
        InvalidInput for what is no user id.
        """
        return self.forget(user_id, limits, lambda session_id: None)

    def forget(self, user_id: str, limits: Sequence[RateLimit], told: Told) -> Forgotten:
        """Do what ``forget_user`` does; ``told`` is called with each session that is gone."""
        whose = check_user_id(user_id)
        limits = several(limits, RateLimit, "limits")
        key = self._core.keys.user_sessions(user_id)
        found, refused, stay = Forgotten(), None, 0
        # What stays comes first in the index, as all is looked at in its order.
        while members := self._page(key, stay):
            ended, dead, others = dict[str, Ended](), list[bytes](), list[bytes]()
            for member in members:
                try:
                    end = self._end(member, user_id)
                except StoreMisconfigured as exc:
                    log.warning("a session of a user who is forgotten stays: %s", exc)
                    refused, stay = refused or exc.with_traceback(None), stay + 1
                    continue
                if isinstance(end, Ended):
                    ended[to_text(member)] = end
                elif end is not None:
                    (dead if isinstance(end, Gone) else others).append(member)
            old = self._old(key, dead)
            stay += len(dead) - len(old)
            self._core.call_many([("ZREM", key, member) for member in others])
            self._index.take_out([*ended, *map(to_text, old)], whose)
            # Of what is gone by now an earlier call may have been cut off here.
            gone = [*ended, *map(to_text, dead)]
            for session_id in gone:
                told(session_id)
            found = evolve(
                found,
                sessions=found.sessions + len(ended),
                messages=found.messages + sum(end.messages for end in ended.values()),
                limits=found.limits + self._counts(limits, "session", gone),
                left=found.left + len(dead) - len(old),
            )
        self._index.forget_waiting(user_id)
        counts = self._counts(limits, "user", [user_id])
        found = evolve(found, limits=found.limits + counts, totals=int(self._usage.forget(user_id)))
        if refused is not None:
            raise refused
        return found

    def _counts(self, limits: Sequence[RateLimit], per: Per, names: Sequence[str]) -> int:
        return self._limits.forget(limits, per, names) + self._budgets.forget(per, names)

    def _page(self, key: str, start: int) -> list[bytes]:
        return list(self._core.call("ZRANGE", key, start, start + PAGE - 1))

    def _end(self, member: bytes, user_id: str) -> Ended | Others | Gone | None:
        """Remove the session that an entry of the user's index names; None: look again."""
        session_id = read_member(member)
        if not session_id or to_bytes(session_id) != member:
            return Others()  # another program has entered it
        with suppress(SessionNotFound):  # it was made anew since an earlier try
            return forget_session(
                self._core.on(session_id, user_id),
                operation=new_id(),
                channel=self._index.channel(),
                note=session_note(session_id, "session_ended"),
            )
        return None

    def _old(self, key: str, dead: list[bytes]) -> list[bytes]:
        """Return the entries without a session that are none of one just being created."""
        if not dead:
            return []
        *scores, time = self._core.call_many([*(("ZSCORE", key, d) for d in dead), ("TIME",)])
        latest = self._core.now_ms(time) - FRESH_MS
        return [d for d, score in zip(dead, scores, strict=True) if float(score or 0) <= latest]
