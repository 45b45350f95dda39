"""Turns that asked to be finished if their process dies: who looks after them, and when.

The index has sessions, by when to look. It is derived: written once the turn is open, so that a
stranger's call writes nothing, and moved or pruned only by who looks, so a turn costs one command
however long it takes.
"""

from __future__ import annotations

from math import ceil

from ..errors import MiniAgentError, SessionNotFound, StoreUnavailable
from .checks import milliseconds
from .core import StoreCore, log
from .due import due_shards
from .index import Index
from .keys import read_member, to_bytes, to_text
from .operations.begin import NAMED
from .operations.expiry import Claimed, claim_due
from .operations.open_turn import ask_recovery, read_turn

HOLD_MS = 5_000
"""For how long nobody else looks after a turn that somebody has claimed to finish."""
_BATCH = 100
_BEHIND_MS = 50
"""So long behind the end of a lease somebody looks whether it was renewed."""


class Recovery:
    """Finding abandoned turns that are to be finished. Safe on any number of instances at once."""

    def __init__(self, core: StoreCore, index: Index) -> None:
        self._core = core
        self._index = index

    def ask(self, session_id: str) -> None:
        """Have the session's turn looked after, from a lease from now on. One round trip.

        Only turns whose id a caller gave. Raises StoreUnavailable or StoreMisconfigured.
        """
        keys, lease_ttl = self._core.keys, self._core.config.lease_ttl
        ask_recovery(
            self._core,
            keys.turns(keys.shard(session_id)),
            after_ms=milliseconds(lease_ttl, "lease_ttl") + _BEHIND_MS,
            session_id=to_bytes(session_id),
        )

    def claim_abandoned(self, agent_name: str) -> list[str]:
        """Return sessions whose turn was abandoned; nobody else gets them for five seconds.

        Those of agents of another name are left to them. One round trip if nothing is due, and
        else two for each entry that is. Raises StoreUnavailable or StoreMisconfigured.
        """
        found: list[str] = []
        for shard in due_shards(self._core, self._core.keys.turns):
            key = self._core.keys.turns(shard)
            claimed = claim_due(self._core, key, hold_ms=HOLD_MS, most=_BATCH)
            for member, was in claimed.due:
                session_id = read_member(member)
                try:
                    if self._must_be_finished(key, session_id, claimed, was, agent_name):
                        found.append(session_id)
                except StoreUnavailable:
                    raise
                except MiniAgentError as exc:  # looked at again when the claim ends
                    log.warning("the open turn of %r could not be looked at: %s", session_id, exc)
        return found

    def _must_be_finished(
        self, key: str, session_id: str, claimed: Claimed, was: bytes, agent_name: str
    ) -> bool:
        try:
            found = read_turn(self._core.on(session_id), turn_id="", events=0)
        except SessionNotFound:
            found = None
        if found is None or not found.open_turn:
            self._index.prune(key, session_id, claimed.score)
        elif found.waits:
            self._put(key, session_id, "+inf")
        elif found.left_ms > 0:
            self._put(key, session_id, claimed.now_ms + ceil(found.left_ms) + _BEHIND_MS)
        elif found.named != NAMED.encode():  # it did not ask
            self._index.prune(key, session_id, claimed.score)
        elif found.agent and to_text(found.agent) != agent_name:
            self._put(key, session_id, was)
        else:
            return True
        return False

    def _put(self, key: str, session_id: str, score: bytes | str | int) -> None:
        self._core.call("ZADD", key, "XX", score, to_bytes(session_id))
