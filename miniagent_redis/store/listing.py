"""Listing sessions, page by page, from the indexes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from ..errors import (
    InvalidInput,
    MiniAgentError,
    SchemaTooNew,
    StoreMisconfigured,
    StoreUnavailable,
)
from ..models import Page, isoformat
from ..records.frame import Unreadable
from ..records.sealed import EncryptionKeyMissing
from ..runtime.checks import whole_number
from .core import StoreCore, log
from .cursors import Entry, Position, after, cursor_of, position_of, read_cursor
from .index import FRESH_MS, Index
from .keys import NEVER_MS, SHARDS, check_user_id, read_member, to_text
from .session_state import origin_of, title_of
from .titles import Titles

_FIELDS = (
    "user", "agent", "created_at", "last_activity", "deadline", "message_count", "turns", "turn",
)  # fmt: skip
_METADATA = (b"hash", "hash", b"none", "none")
_DOCUMENT = (b"string", "string", b"none", "none")


class Listing:
    """Which sessions there are."""

    def __init__(self, core: StoreCore, index: Index, titles: Titles) -> None:
        self._core = core
        self._titles = titles
        self._index = index

    def list_sessions(
        self, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """List sessions that are alive, the most recently used first.

        ``user_id`` restricts the list to that user's. Each entry has ``session_id user_id
        agent_name created_at last_activity expires_at`` (ISO 8601, UTC; None: never)
        ``message_count turns open_turn title forked_from`` (the last two None where there is none,
        or the session's document cannot be read here). The page's ``cursor`` is for the next page,
        None at the end. Takes two round trips when all entries are alive, whatever the number of
        sessions; never scans the keyspace.
        """
        owner = None if user_id is None else check_user_id(user_id)
        if user_id is None:
            indexes = [self._core.keys.sessions(shard) for shard in range(SHARDS)]
        else:
            indexes = [self._core.keys.user_sessions(user_id)]
        self.write()
        return self.page(indexes, limit, cursor, partial(self._alive, owner=owner))

    def write(self) -> None:
        """Write what is noted, so that it is found; not where Redis takes no writes.

        Raises StoreUnavailable.
        """
        try:
            self._index.write()
            self._titles.write()
        except StoreUnavailable:
            if not self._core.connections.availability.refuses_writes:
                raise

    def page(
        self,
        indexes: list[str],
        limit: int,
        cursor: str | None,
        read: Callable[[list[Entry]], list[dict[str, Any]]],
    ) -> Page[dict[str, Any]]:
        """Return a page of what ``read`` makes of entries, those with the highest score first."""
        if whole_number(limit, "limit", 1) > 1000:
            raise InvalidInput(f"limit must be from 1 to 1000, not {limit!r}")
        at = read_cursor(cursor, position_of)
        page: Page[dict[str, Any]] = Page()
        while len(page) < limit:
            wanted = limit - len(page)
            entries = self.entries(indexes, at, wanted)
            page.extend(read(entries))
            if entries:
                at = after(entries, at)
            if len(entries) < wanted:
                return page
        page.cursor = cursor_of(at)
        return page

    def entries(self, indexes: list[str], at: Position | None, limit: int) -> list[Entry]:
        """Return the next (score, session id), highest first, merged over the indexes."""
        top, last, tied = at or (float("inf"), "", 0)
        ceiling = "+inf" if at is None else repr(top)
        # Of those tied with the last one seen, an index may hold all `tied` again.
        most = limit + tied
        while True:
            replies = self._core.call_many(
                [
                    ("ZRANGE", key, ceiling, "-inf", "BYSCORE", "REV",
                     "LIMIT", 0, most, "WITHSCORES")
                    for key in indexes
                ]
            )  # fmt: skip
            found = [_pairs(reply) for reply in replies]
            fresh = [[e for e in entries if at is None or e < (top, last)] for entries in found]
            # An index is told to its end, or far enough: not if sessions of that very millisecond
            # were added since and fill the reply.
            if all(
                len(new) >= limit or len(entries) < most
                for new, entries in zip(fresh, found, strict=True)
            ):
                break
            most *= 2
        return sorted(chain.from_iterable(fresh), reverse=True)[:limit]

    def _alive(self, entries: list[Entry], owner: bytes | None) -> list[dict[str, Any]]:
        alive, empty = self.look(entries, owner)
        for entry in empty:
            self._prune_if_old(entry, owner)
        return alive

    def look(
        self, entries: list[Entry], owner: bytes | None
    ) -> tuple[list[dict[str, Any]], list[Entry]]:
        """Return what a listing tells of sessions that are alive, one round trip for all.

        And the entries behind which nothing is, or somebody else's session. Those whose metadata
        cannot be read are left out, and logged.
        """
        commands: list[tuple[Any, ...]] = []
        for _, session_id in entries:
            commands.append(("GET", self._core.keys.session(session_id)))
            commands.append(("HMGET", self._core.keys.metadata(session_id), *_FIELDS))
        try:
            replies = self._core.call_many(commands)
        except StoreMisconfigured:
            both = self._core.keys.session, self._core.keys.metadata
            kinds = self._core.call_many(
                [("TYPE", key(entry[1])) for entry in entries for key in both]
            )
            sound = [
                entry
                for entry, document, metadata in zip(entries, kinds[::2], kinds[1::2], strict=True)
                if document in _DOCUMENT and metadata in _METADATA
            ]
            if len(sound) == len(entries):
                raise
            log.warning("%d sessions are not listed: something else is in the place of what is "
                        "stored of them", len(entries) - len(sound))  # fmt: skip
            return self.look(sound, owner)
        now = self._core.clock.server_now_ms() or 0
        listed: list[dict[str, Any]] = []
        empty: list[Entry] = []
        for entry, raw, values in zip(entries, replies[::2], replies[1::2], strict=True):
            session_id = entry[1]
            user, deadline = values[0], values[4]
            if deadline is None or (owner is not None and user != owner):
                # Nothing is there, or someone else has the id: what a refused creation left.
                empty.append(entry)
                continue
            try:
                if raw is not None and int(deadline) > now:
                    listed.append(self._listed(session_id, raw, values))
            except (OverflowError, TypeError, ValueError) as exc:
                log.warning("session %s is not listed, its metadata cannot be read: %s",
                            session_id, exc)  # fmt: skip
        return listed, empty

    def _listed(self, session_id: str, raw: bytes, values: Sequence[Any]) -> dict[str, Any]:
        user, agent, created, used, deadline, count, turns, turn = values
        end = int(deadline)
        return {
            "session_id": session_id,
            "user_id": to_text(user) or None,
            "agent_name": to_text(agent),
            "message_count": int(count),
            "turns": int(turns),
            "created_at": isoformat(int(created) / 1000),
            "last_activity": isoformat(int(used) / 1000),
            "expires_at": None if end >= NEVER_MS else isoformat(end / 1000),
            "open_turn": turn.decode() if turn else None,
            **self._named(session_id, raw),
        }

    def _named(self, session_id: str, raw: bytes) -> dict[str, Any]:
        """Return what a session's document tells of its name; nothing if it cannot be read here."""
        try:
            document = self._core.format.decode(raw, self._core.where("session", session_id))
        except (Unreadable, SchemaTooNew, EncryptionKeyMissing):
            document = {}
        return {"title": title_of(document), "forked_from": origin_of(document)}

    def _prune_if_old(self, entry: Entry, owner: bytes | None) -> None:
        score, session_id = entry
        if owner is None:
            key = self._core.keys.sessions(self._core.keys.shard(session_id))
        else:
            key = self._core.keys.user_sessions(to_text(owner))
        try:
            if score <= self._core.now_ms(self._core.call("TIME")) - FRESH_MS:
                self._index.prune(key, session_id, repr(score))
        except MiniAgentError as exc:
            log.warning("the index %s could not be pruned: %s", key, exc)


def _pairs(reply: list[Any]) -> list[Entry]:
    """Read WITHSCORES, which is a flat list in RESP2 and a list of pairs in RESP3."""
    if reply and isinstance(reply[0], list):
        return [(float(score), read_member(member)) for member, score in reply]
    return [(float(s), read_member(m)) for m, s in zip(reply[::2], reply[1::2], strict=True)]
