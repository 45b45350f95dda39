"""Expiry: find the sessions that have ended, run what is to be done about it, leave nothing behind.

A session is over at its deadline, whoever sweeps or not: nothing reads or writes it from then on.
What it leaves is readable for ``GRACE_MS``, so that the hooks can be told.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ..errors import MiniAgentError, StoreUnavailable
from ..models import ExpiredSession
from ..runtime.checks import whole_number
from .core import StoreCore, log
from .due import due_shards
from .hook_calls import ExpiryHook, HookCalls, RunningHook, check_hooks
from .index import FRESH_MS, Index
from .keys import GRACE_MS, read_member, to_bytes, to_text
from .looking_back import PAGE
from .message_records import MessageRecords
from .notes import session_note
from .operations.expiry import Leftovers, claim_due, expire_session, read_expired
from .operations.replies import Alive, Gone

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


class Expiry:
    """The sweep over the sessions whose deadline has passed."""

    def __init__(self, core: StoreCore, index: Index, records: MessageRecords) -> None:
        self._core = core
        self._index = index
        self._records = records
        self._hooks = HookCalls(core)

    def sweep(self, on_expire: Sequence[ExpiryHook] = (), limit: int = 100) -> int:
        """Remove sessions that have expired, at most ``limit``; return how many there were.

        Each is claimed first, so any number of instances may sweep at once. ``on_expire`` are
        called with an ExpiredSession, one after the other, then all that the session left is
        removed and SESSION_EXPIRED published. They are called once for each expiry; a second time
        only if this instance dies or loses Redis meanwhile, or if they take longer than a minute
        together and no open agent of this process has this store, to keep the claim. One that
        raises is logged and counted in ``failed_expiry_hooks``, and the sweep goes on. Those of
        whichever instance is first are called, so let all have the same. No hook is called for a
        session whose id is created anew before the sweep finds it, or that nobody has swept for
        an hour.

        Entries without a session are pruned from the indexes. Blocks for about two seconds and
        the last hook; costs one round trip when nothing is due. Raises StoreUnavailable or
        StoreMisconfigured.
        """
        whole_number(limit, "limit", 1)
        on_expire = check_hooks(on_expire)
        end = self._core.clock.monotonic() + _LONGEST
        # What is claimed and not reached in time would have to wait for the claim to end.
        batch = 1 if on_expire else _BATCH
        expired = 0
        for shard in self._due_shards():
            claims: list[_Claim] | None = None
            while claims is None or claims:
                if limit <= 0 or self._core.clock.monotonic() > end:
                    return expired
                claims = self._claim(shard, min(batch, limit))
                limit -= len(claims)
                expired += sum(self._end(claim, on_expire) for claim in claims)
        return expired

    def has_due(self) -> bool:
        """Whether there is something to sweep. One round trip."""
        return bool(self._due_shards())

    def announce(self) -> None:
        """Tell instances without hooks that here are some: they leave the sessions to us.

        For as long as a session that ends now can be told, also if we are away meanwhile.
        """
        self._core.call("SET", self._core.keys.expiry_hooks(), "", "PX", GRACE_MS)

    def is_announced(self) -> bool:
        """Whether an instance with hooks has swept in the last hour."""
        return bool(self._core.call("EXISTS", self._core.keys.expiry_hooks()))

    def renew_claims(self) -> None:
        """Keep others off the sessions whose hooks are being called, and log which of these hang.

        Until nothing is left of the session: a hook that never returns is called only once.
        """
        self._hooks.tell_hanging()
        calls = [c for c in self.running_hooks() if c.seconds * 1000 < GRACE_MS]
        if not calls:
            return
        claim = self._core.now_ms(self._core.call("TIME")) + CLAIM_MS + 0.5
        keys = self._core.keys
        self._core.call_many([
            ("ZADD", keys.deadlines(keys.shard(one)), "XX", "GT", claim, to_bytes(one))
            for one in (call.session_id for call in calls)
        ])  # fmt: skip

    def running_hooks(self) -> tuple[RunningHook, ...]:
        """Return the calls of hooks that have not returned."""
        return self._hooks.running()

    def _due_shards(self) -> list[int]:
        return due_shards(self._core, self._core.keys.deadlines)

    def _claim(self, shard: int, most: int) -> list[_Claim]:
        key = self._core.keys.deadlines(shard)
        claimed = claim_due(self._core, key, hold_ms=CLAIM_MS, most=most)
        return [
            _Claim(
                read_member(session_id),
                shard,
                claimed.score.decode(),
                # It had been claimed, so it was due a claim's time ago.
                _is_claim(float(was)) or float(was) <= claimed.now_ms - FRESH_MS,
            )
            for session_id, was in claimed.due
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
        on = self._core.on(session_id)
        found = read_expired(on, start=0, most=PAGE if hooks else 0)
        if isinstance(found, Alive):
            self._put_back(claim, found.deadline_ms)
            return False
        if isinstance(found, Gone):
            # Entries are written before their session, so a fresh one is looked at again.
            if claim.is_old and self._remove(session_id, None) is None:
                self._prune(claim)
            return False
        if hooks:
            told = self._told(session_id, found)
            if told is None:
                return False  # made anew while we read; its own deadline is put back by then
            for hook in hooks:
                self._hooks.call(hook, told)
        at = self._remove(session_id, found.deadline_ms)
        if at is not None:
            self._put_back(claim, at)
            return False
        self._index.remove(session_id, found.values[0])
        return True

    def _told(self, session_id: str, left: Leftovers) -> ExpiredSession | None:
        """Load the rest of the thread; return what hooks are told, or None if it is alive again."""
        on, records = self._core.on(session_id), left.records
        while len(records) % PAGE == 0 and records:
            more = read_expired(on, start=len(records), most=PAGE)
            if not isinstance(more, Leftovers) or more.deadline_ms != left.deadline_ms:
                return None
            if not more.records:
                break
            records += more.records
        decoded = self._records.decode(session_id, records)
        user, agent, created, count = left.values
        return ExpiredSession(
            session_id=session_id,
            user_id=to_text(user) or None,
            agent_name=to_text(agent),
            message_count=int(count),
            created_at=int(created) / 1000,
            expired_at=left.deadline_ms / 1000,
            messages=decoded.messages,
            unreadable=decoded.unreadable,
        )

    def _remove(self, session_id: str, deadline: int | None) -> int | None:
        """Remove what is left of the session; return None, or the deadline of one that is new."""
        end = expire_session(
            self._core.on(session_id),
            expected=deadline,
            channel=self._index.channel(),
            note=session_note(session_id, "session_expired", expired_at_ms=deadline),
        )
        return end.deadline_ms if isinstance(end, Alive) else None

    def _prune(self, claim: _Claim) -> None:
        """Take an entry out of both indexes that no session stands behind."""
        sessions, deadlines = (
            self._core.keys.sessions(claim.shard),
            self._core.keys.deadlines(claim.shard),
        )
        used = self._core.call("ZSCORE", sessions, to_bytes(claim.session_id))
        self._index.prune(deadlines, claim.session_id, claim.score)
        if used is not None:
            self._index.prune(sessions, claim.session_id, used)

    def _put_back(self, claim: _Claim, deadline: int) -> None:
        key = self._core.keys.deadlines(claim.shard)
        self._core.call("ZADD", key, "XX", deadline, to_bytes(claim.session_id))


def _is_claim(score: float) -> bool:
    """Whether a score is the end of a claim: it ends in .5, as no deadline does."""
    return not score.is_integer()
