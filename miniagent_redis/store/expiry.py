"""Expiry: find the sessions that have ended, run what is to be done about it, leave nothing behind.

A session is over at its deadline, whoever sweeps or not: nothing reads or writes it from then on.
What it leaves is readable for ``GRACE_MS``, so that the hooks can be told.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from .._mirror import run_coroutine
from ..errors import InvalidInput, MiniAgentError, StoreUnavailable
from ..keys import SHARDS
from ..models import ExpiredSession, isoformat
from .base import check_position, log
from .index import FRESH_MS, Index
from .threads import PAGE

ExpiryHook = Callable[[ExpiredSession], object]

CLAIM_MS = 60_000
"""How long a claim keeps others off. If whoever claimed died, the next one takes over then."""
_BATCH = 100
_LONGEST = 2.0
"""Seconds after which a sweep leaves the rest to the next: other jobs share its thread."""


@frozen
class _Claim:
    session_id: str
    shard: int
    score: str
    is_old: bool
    """Whether the entry has been due for a while, so that its session is not just being made."""


class Expiry(Index):
    """The sweep over the sessions whose deadline has passed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failed_expiry_hooks = 0
        """How many calls of a hook have raised in this process."""

    def sweep(self, on_expire: Sequence[ExpiryHook] = (), limit: int = 100) -> int:
        """Remove sessions that have expired, at most ``limit``; return how many there were.

        Each is claimed first, so any number of instances may sweep at once. ``on_expire`` are
        called with an ExpiredSession, one after the other, then all that the session left is
        removed and SESSION_EXPIRED published. They are called once for each expiry; a second time
        only if this instance dies or loses Redis meanwhile, or they take longer than a minute
        together. One that raises is logged and counted in ``failed_expiry_hooks``, and the sweep
        goes on. Those of whichever instance is first are called, so let all have the same. No
        hook is called for a session whose id is created anew before the sweep finds it, or that
        nobody has swept for an hour.

        Entries without a session are pruned from the indexes. Blocks for about two seconds and
        the last hook; costs one round trip when nothing is due. Raises StoreUnavailable or
        StoreMisconfigured.
        """
        check_position(limit, "limit", 1)
        for hook in on_expire:
            check_hook(hook)
        end = self.clock.monotonic() + _LONGEST
        # What is claimed and not reached in time would have to wait for the claim to end.
        batch = 1 if on_expire else _BATCH
        expired = 0
        for shard in self._due_shards():
            claims: list[_Claim] | None = None
            while claims is None or claims:
                if limit <= 0 or self.clock.monotonic() > end:
                    return expired
                claims = self._claim(shard, min(batch, limit))
                limit -= len(claims)
                expired += sum(self._end(claim, on_expire) for claim in claims)
        return expired

    def _due_shards(self) -> list[int]:
        commands: list[tuple[Any, ...]] = [("TIME",)]
        for shard in range(SHARDS):
            commands.append(("ZRANGE", self.keys.deadlines(shard), 0, 0, "WITHSCORES"))
        (seconds, microseconds), *replies = self._call_many(commands)
        now = self.clock.server_now_ms()
        if now is None:
            now = int(seconds) * 1000 + int(microseconds) // 1000
        return [shard for shard, reply in enumerate(replies) if _first_score(reply) <= now]

    def _claim(self, shard: int, most: int) -> list[_Claim]:
        now = self.clock.server_now_ms()
        key = self.keys.deadlines(shard)
        _, at, score, due = self._run_on(
            key, "claim_due", "" if now is None else now, CLAIM_MS, most
        )
        return [
            _Claim(
                session_id.decode(),
                shard,
                score.decode(),
                # A score with a fraction is a claim, so the entry was due a claim's time ago.
                not float(was).is_integer() or float(was) <= at - FRESH_MS,
            )
            for session_id, was in due
        ]

    def _end(self, claim: _Claim, hooks: Sequence[ExpiryHook]) -> bool:
        """Bring a claimed session to its end if it has come; return whether it has expired."""
        try:
            return self._expire(claim, hooks)
        except StoreUnavailable:
            raise
        except MiniAgentError as exc:  # this one is tried again when the claim ends
            log.warning("the expired session %r could not be removed: %s", claim.session_id, exc)
            return False

    def _expire(self, claim: _Claim, hooks: Sequence[ExpiryHook]) -> bool:
        session_id = claim.session_id
        status, *found = self._run("read_expired", session_id, None, 0, PAGE if hooks else 0)
        if status == "alive":
            self._put_back(claim, found[0])
            return False
        if status == "gone":
            # Entries are written before their session, so a fresh one is looked at again.
            if claim.is_old and self._remove(session_id, None) is None:
                self._prune(claim)
            return False
        deadline, values, records = found
        if hooks:
            told = self._told(session_id, deadline, values, records)
            if told is None:
                return False  # made anew while we read; its own deadline is put back by then
            for hook in hooks:
                self._call_hook(hook, told)
        at = self._remove(session_id, deadline)
        if at is not None:
            self._put_back(claim, at)
            return False
        self.remove_from_indexes(session_id, values[0])
        return True

    def _told(
        self, session_id: str, deadline: int, values: list[bytes], records: list[bytes]
    ) -> ExpiredSession | None:
        """Load the rest of the thread; return what hooks are told, or None if it is alive again."""
        while len(records) % PAGE == 0 and records:
            status, *more = self._run("read_expired", session_id, None, len(records), PAGE)
            if status != "ok" or more[0] != deadline:
                return None
            if not more[2]:
                break
            records += more[2]
        messages, _, unreadable = self._messages(records, 0, f"thread:{session_id}")
        user, agent, created, count = values
        return ExpiredSession(
            session_id=session_id,
            user_id=user.decode("utf-8", "surrogatepass") or None,
            agent_name=agent.decode("utf-8", "surrogatepass"),
            message_count=int(count),
            created_at=int(created) / 1000,
            expired_at=deadline / 1000,
            messages=tuple(messages),
            unreadable=tuple(unreadable),
        )

    def _call_hook(self, hook: ExpiryHook, expired: ExpiredSession) -> None:
        try:
            result = hook(expired)
            if inspect.iscoroutine(result):
                run_coroutine(result)
        except Exception:
            self.failed_expiry_hooks += 1
            log.exception("a hook failed for the expired session %s", expired.session_id)

    def _remove(self, session_id: str, deadline: int | None) -> int | None:
        """Remove what is left of the session; return None, or the deadline of one that is new."""
        note = {"session_id": session_id, "event": "session_expired"}
        if deadline is not None:
            note["expired_at"] = isoformat(deadline / 1000)
        status, *found = self._run(
            "expire_session",
            session_id,
            None,
            "" if deadline is None else deadline,
            self.keys.session_updates(),
            json.dumps(note),
        )
        return int(found[0]) if status == "alive" else None

    def _prune(self, claim: _Claim) -> None:
        """Take an entry out of both indexes that no session stands behind."""
        sessions, deadlines = self.keys.sessions(claim.shard), self.keys.deadlines(claim.shard)
        used = self._call("ZSCORE", sessions, claim.session_id)
        self._prune_entry(deadlines, claim.session_id, claim.score)
        if used is not None:
            self._prune_entry(sessions, claim.session_id, used)

    def _put_back(self, claim: _Claim, deadline: int) -> None:
        key = self.keys.deadlines(claim.shard)
        self._call("ZADD", key, "XX", deadline, claim.session_id)


def check_hook(hook: object) -> None:
    """Raise InvalidInput unless it can be called."""
    if not callable(hook):
        raise InvalidInput(
            f"{hook!r:.100} cannot be called",
            hint="an expiry hook is a function of one ExpiredSession",
        )


def _first_score(reply: list[Any]) -> float:
    """Read one entry WITHSCORES, a list of pairs in RESP3; infinity if there is none."""
    if not reply:
        return float("inf")
    return float(reply[0][1] if isinstance(reply[0], list) else reply[1])
