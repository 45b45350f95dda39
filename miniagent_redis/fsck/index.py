"""Looks at the indexes: entries without a session, and sessions without an entry.

The indexes and the sessions lie in different slots, so no script may touch both. An entry that
seems dead is taken out and looked at again at the end: if its session came meanwhile, it is put
back, as a session is that has no entry.
"""

from __future__ import annotations

from attrs import frozen

from ..store.manager import RedisSessionManager
from .finding import REPAIR, Finding
from .server import call, call_many, scan_members
from .session import Snapshot

_YOUNG_MS = 60_000
"""An entry is written before its session: one so young may be waiting for it."""


@frozen
class Entry:
    """A member of an index that has no session."""

    index: str
    member: bytes
    score: float


def _now_ms(store: RedisSessionManager) -> int:
    now = store.clock.server_now_ms()
    if now is not None:
        return now
    seconds, micros = call(store, "TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def _session_id(member: bytes) -> str:
    return member.decode("utf-8", "backslashreplace")


def check_index(
    store: RedisSessionManager, index: str, *, repair: bool
) -> tuple[list[Entry], list[Finding]]:
    """Return what was taken out of one index, and what is wrong with it."""
    kind = call(store, "TYPE", index).decode()
    if kind not in ("zset", "none"):
        problem = f"it holds a {kind}, not a sorted set; sessions cannot be listed"
        hint = f"look at it, DEL {index}, then {REPAIR}"
        return [], [Finding("wrong_type", None, index, problem, hint=hint)]
    removed: list[Entry] = []
    findings: list[Finding] = []
    for page in scan_members(store, index):
        now = _now_ms(store)
        # A session that ends in this moment loses its entries one by one, so look twice.
        for entry in _dead(store, index, _still_there(store, _dead(store, index, page, now)), now):
            if repair:
                call(store, "ZREM", index, entry.member)
                removed.append(entry)
            findings.append(
                Finding(
                    "orphan_entry",
                    _session_id(entry.member),
                    index,
                    "it lists a session that is not there",
                    repaired=repair,
                    hint="" if repair else REPAIR,
                )
            )
    return removed, findings


def _still_there(store: RedisSessionManager, entries: list[Entry]) -> list[tuple[bytes, float]]:
    scores = call_many(store, [("ZSCORE", entry.index, entry.member) for entry in entries])
    return [
        (entry.member, entry.score)
        for entry, score in zip(entries, scores, strict=True)
        if score is not None and float(score) == entry.score
    ]


def _dead(
    store: RedisSessionManager, index: str, page: list[tuple[bytes, float]], now: int
) -> list[Entry]:
    keys = store.keys
    commands: list[tuple[str, ...]] = []
    for member, _ in page:
        session_id = _session_id(member)
        commands.append(("ZSCORE", keys.sessions(keys.shard(session_id)), session_id))
        commands.append(("HGET", keys.metadata(session_id), "user"))
        # One that is over is left to the expiry sweep for as long as its thread is readable.
        commands.append(("EXISTS", keys.session(session_id), keys.metadata(session_id)))
    replies = call_many(store, commands)
    dead: list[Entry] = []
    for (member, score), used, user, exists in zip(
        page, replies[::3], replies[1::3], replies[2::3], strict=True
    ):
        since = 0.0 if used is None else float(used)
        if since > now - _YOUNG_MS:
            continue
        if not exists or _is_of_another(store, index, user):
            dead.append(Entry(index, member, score))
    return dead


def _is_of_another(store: RedisSessionManager, index: str, user: bytes | None) -> bool:
    """Whether it is a user's index, and the session's user is somebody else."""
    prefix = f"{store.keys.ns}user:"
    if user is None or not index.startswith(prefix):
        return False
    name = user.decode("utf-8", "surrogatepass")
    return not name or store.keys.user_sessions(name) != index


def put_back(store: RedisSessionManager, removed: list[Entry]) -> None:
    """Enter again what was taken out while its session was being created."""
    for entry in removed:
        session_id = _session_id(entry.member)
        user = call(store, "HGET", store.keys.metadata(session_id), "user")
        if user is not None and not _is_of_another(store, entry.index, user):
            call(store, "ZADD", entry.index, "NX", repr(entry.score), entry.member)


def check_entries(
    store: RedisSessionManager, session_id: str, seen: Snapshot, *, repair: bool
) -> list[Finding]:
    """Return in which indexes a session that is alive is missing."""
    keys = store.keys
    shard = keys.shard(session_id)
    wanted = {
        keys.sessions(shard): seen.number("last_activity"),
        keys.deadlines(shard): seen.number("deadline"),
    }
    if seen.user:
        wanted[keys.user_sessions(seen.user)] = seen.number("last_activity")
    types = call_many(store, [("TYPE", index) for index in wanted])
    indexes = [i for i, kind in zip(wanted, types, strict=True) if kind in (b"zset", b"none")]
    # A session ends before its entries do: if it is there afterwards, they should have been.
    *scores, exists = call_many(
        store,
        [*(("ZSCORE", index, session_id) for index in indexes),
         ("EXISTS", keys.session(session_id))],
    )  # fmt: skip
    findings: list[Finding] = []
    for index, score in zip(indexes, scores, strict=True):
        at = wanted[index]
        if score is not None or not exists or at is None:
            continue
        if repair:
            call(store, "ZADD", index, "NX", at, session_id)
            if not call(store, "EXISTS", keys.session(session_id)):
                call(store, "ZREM", index, session_id)  # it has ended in this moment
        findings.append(
            Finding(
                "not_indexed",
                session_id,
                index,
                "the session is missing there",
                repaired=repair,
                hint="" if repair else REPAIR,
            )
        )
    return findings
