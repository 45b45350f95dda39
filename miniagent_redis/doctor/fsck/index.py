"""Looks at the indexes: entries without a session or its turn, and sessions without an entry.

The indexes and the sessions lie in different slots, so no script may touch both. An entry that
seems dead is taken out and looked at again at the end: if its session came meanwhile, it is put
back, as a session is that has no entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from math import inf
from shlex import quote

from attrs import frozen

from ...store.core import StoreCore
from ...store.keys import read_member, to_bytes
from ...store.waiting_calls import is_parked
from ..shell import key_command
from .finding import REPAIR, Finding
from .server import scan_members
from .session import Snapshot

_YOUNG_MS = 60_000
"""An entry is written before its session: one so young may be waiting for it.

In the index of turns, where it says when to look, nobody has looked for so long.
"""
_FIELDS = "user", "turn", "waits"


@frozen
class Entry:
    """A member of an index that has no session there."""

    index: str
    member: bytes
    score: float


def _now_ms(core: StoreCore) -> int:
    return core.now_ms(core.call("TIME"))


def check_index(
    core: StoreCore, index: str, gone: Set[str], *, is_known: bool, repair: bool
) -> tuple[list[Entry], list[Finding]]:
    """Return what was taken out of one index, and what is wrong with it.

    One that no session that is alive has to be in, so that it is not ``is_known``, may be another
    program's: then an entry counts only if another trace of that session tells that it was ours.
    ``gone`` are the ids that the indexes before had without a session.
    """
    kind = core.call("TYPE", index).decode()
    if kind != "zset" and not is_known:
        return [], []
    if kind not in ("zset", "none"):
        problem = f"it holds a {kind}, not a sorted set; what it lists is not found"
        remove = f"{key_command(core.config)} DEL {quote(index)}"
        hint = f"look at what it is, then {remove} && {REPAIR}"
        return [], [Finding("wrong_type", None, index, problem, hint=hint)]
    removed: list[Entry] = []
    findings: list[Finding] = []
    for page in scan_members(core, index):
        now = _now_ms(core)
        # A session that ends in this moment loses its entries one by one, so look twice.
        dead = _dead(core, index, page, now, gone, is_known)
        for entry in _dead(core, index, _still_there(core, dead), now, gone, is_known):
            if repair:
                core.call("ZREM", index, entry.member)
                removed.append(entry)
            findings.append(
                Finding(
                    "orphan_entry",
                    read_member(entry.member),
                    index,
                    _PROBLEMS[_kind_of(core, index)],
                    repaired=repair,
                    hint="" if repair else REPAIR,
                )
            )
    return removed, findings


def _still_there(core: StoreCore, entries: list[Entry]) -> list[tuple[bytes, float]]:
    scores = core.call_many([("ZSCORE", entry.index, entry.member) for entry in entries])
    return [
        (entry.member, entry.score)
        for entry, score in zip(entries, scores, strict=True)
        if score is not None and float(score) == entry.score
    ]


def _dead(
    core: StoreCore,
    index: str,
    page: list[tuple[bytes, float]],
    now: int,
    gone: Set[str],
    is_known: bool,
) -> list[Entry]:
    keys = core.keys
    commands: list[tuple[str | bytes, ...]] = []
    for member, _ in page:
        session_id = read_member(member)
        commands.append(("ZSCORE", keys.sessions(keys.shard(session_id)), member))
        commands.append(("HMGET", keys.metadata(session_id), *_FIELDS))
        # One that is over is left to the expiry sweep for as long as its thread is readable.
        commands.append(("EXISTS", keys.session(session_id), keys.metadata(session_id)))
    replies = core.call_many(commands)
    dead: list[Entry] = []
    for (member, score), used, fields, exists in zip(
        page, replies[::3], replies[1::3], replies[2::3], strict=True
    ):
        since = 0.0 if used is None else float(used)
        if _kind_of(core, index) != "sessions":
            since = 0.0 if score == inf else score
        if since > now - _YOUNG_MS:
            continue
        is_ours = is_known or used is not None or bool(fields[0]) or read_member(member) in gone
        if is_ours and not (exists and _belongs(core, index, *fields)):
            dead.append(Entry(index, member, score))
    return dead


_PROBLEMS = {
    "sessions": "it lists a session that is not there",
    "turns": "it lists a session that has no open turn",
    "waiting": "it lists a session whose turn does not wait",
}


def _kind_of(core: StoreCore, index: str) -> str:
    """Return of what an index is: of ``sessions``, of open ``turns``, or of ``waiting`` ones."""
    name = index.removeprefix(core.keys.ns)
    if name.startswith("turns:"):
        return "turns"
    return "waiting" if name.startswith("waiting:") or name.endswith("}:waiting") else "sessions"


def _belongs(
    core: StoreCore, index: str, user: bytes | None, turn: bytes | None, waits: bytes | None
) -> bool:
    """Whether an index may list a session of which the metadata says this."""
    kind = _kind_of(core, index)
    if (kind == "turns" and not turn) or (kind == "waiting" and not is_parked(turn, waits)):
        return False
    return not _is_of_another(core, index, user)


def _is_of_another(core: StoreCore, index: str, user: bytes | None) -> bool:
    """Whether it is a user's index, and the session's user is somebody else."""
    prefix = f"{core.keys.ns}user:"
    if user is None or not index.startswith(prefix):
        return False
    name = user.decode("utf-8", "surrogatepass")
    own = () if not name else (core.keys.user_sessions(name), core.keys.user_waiting(name))
    return index not in own


def put_back(core: StoreCore, removed: list[Entry]) -> None:
    """Enter again what was taken out while its session was being created."""
    for entry in removed:
        session_id = read_member(entry.member)
        if _is_there(core, entry.index, session_id):
            core.call("ZADD", entry.index, "NX", repr(entry.score), entry.member)


def _is_there(core: StoreCore, index: str, session_id: str) -> bool:
    """Whether there is a session that an index may list."""
    user, turn, waits = core.call("HMGET", core.keys.metadata(session_id), *_FIELDS)
    return user is not None and _belongs(core, index, user, turn, waits)


def check_entries(core: StoreCore, alive: Mapping[str, Snapshot], *, repair: bool) -> list[Finding]:
    """Return in which indexes sessions that are alive are missing."""
    wanted = [
        (index, session_id, at)
        for session_id, seen in alive.items()
        for index, at in entries_of(core, session_id, seen)
    ]
    indexes = sorted({index for index, _, _ in wanted})
    types = core.call_many([("TYPE", index) for index in indexes])
    usable = {i for i, kind in zip(indexes, types, strict=True) if kind in (b"zset", b"none")}
    wanted = [each for each in wanted if each[0] in usable]
    scores = core.call_many(
        [("ZSCORE", index, to_bytes(session_id)) for index, session_id, _ in wanted]
    )
    missing = [each for each, score in zip(wanted, scores, strict=True) if score is None]
    findings: list[Finding] = []
    for index, session_id, at in missing:
        # It ends before its entries do: if it is there afterwards, they should have been.
        if not _is_alive(core, index, session_id):
            continue
        if repair:
            core.call("ZADD", index, "NX", at, to_bytes(session_id))
            if not _is_alive(core, index, session_id):
                core.call("ZREM", index, to_bytes(session_id))  # it has ended in this moment
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


def _is_alive(core: StoreCore, index: str, session_id: str) -> bool:
    return bool(core.call("EXISTS", core.keys.session(session_id))) and _is_there(
        core, index, session_id
    )


def entries_of(core: StoreCore, session_id: str, seen: Snapshot) -> Iterator[tuple[str, int]]:
    """Yield the indexes that the session must be in, each with the score it must have there."""
    keys, shard = core.keys, core.keys.shard(session_id)
    used, deadline = seen.number("last_activity"), seen.number("deadline")
    if used is not None:
        yield keys.sessions(shard), used
        if seen.user:
            yield keys.user_sessions(seen.user), used
        if seen.is_parked:
            yield keys.waiting(shard), used
            if seen.user:
                yield keys.user_waiting(seen.user), used
    if deadline is not None:
        yield keys.deadlines(shard), deadline
