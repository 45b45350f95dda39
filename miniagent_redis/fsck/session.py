"""Looks at all that is stored of one session, and mends its counters and its expiry."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve, frozen

from ..codec import SCHEMA, Unreadable, upcast
from ..errors import SchemaTooNew
from ..models import new_id
from ..store.manager import RedisSessionManager
from .finding import REPAIR, Finding, Kind
from .server import inspect, run
from .thread import Records, read_record, read_thread

STUCK_AFTER_MS = 600_000
"""How long after its lease an open turn counts as stuck: 10 minutes."""
_TYPES = ("string", "list", "list", "hash", "hash", "stream")
_NUMBERS = ("version", "epoch", "message_count", "bytes", "deadline", "last_activity")
_TRIES = 3


@frozen
class Snapshot:
    """What is stored of a session at one instant, but its thread; times are ms."""

    now: int
    types: tuple[str, ...]
    expiries: tuple[int, ...]
    document: bytes
    metadata: dict[bytes, bytes]
    length: int
    staged: tuple[bytes, ...]

    def number(self, name: str) -> int | None:
        """Return a number of the metadata, or None if there is none."""
        try:
            return int(self.metadata[name.encode()])
        except (KeyError, ValueError):
            return None

    @property
    def user(self) -> str:
        return self.metadata.get(b"user", b"").decode("utf-8", "surrogatepass")

    @property
    def is_alive(self) -> bool:
        """Whether the scripts take it for a session."""
        deadline = self.number("deadline")
        return self.types[0] == "string" and deadline is not None and deadline > self.now


def take_snapshot(store: RedisSessionManager, session_id: str) -> Snapshot:
    """Read what is stored of the session, all at one instant."""
    reply = inspect(store, session_id)
    _, now, types, expiries, document, metadata, length, staged = reply
    return Snapshot(
        now=int(now),
        types=tuple(kind.decode() for kind in types),
        expiries=tuple(map(int, expiries)),
        document=document,
        metadata=dict(zip(metadata[::2], metadata[1::2], strict=True)),
        length=int(length),
        staged=tuple(staged),
    )


def check_session(
    store: RedisSessionManager, session_id: str, *, repair: bool
) -> tuple[Snapshot, list[Finding]]:
    """Return what there is of the session and what is wrong with it.

    Others may work on it at the same time: a fault counts when nothing moved while it was found.
    """
    tries = _TRIES
    while True:
        tries -= 1
        seen = take_snapshot(store, session_id)
        is_readable = seen.is_alive and seen.types[1] == "list"
        key = store.keys.of_session(session_id)[1]
        records = read_thread(store, key, seen.length) if is_readable else Records()
        found = list(_faults(store, session_id, seen, records))
        if not found or not tries:
            break
        if evolve(take_snapshot(store, session_id), now=seen.now) == seen:
            break
    if repair and found:
        found = _mend(store, session_id, seen, records, found)
    return seen, found


def _faults(
    store: RedisSessionManager, session_id: str, seen: Snapshot, records: Records
) -> Iterator[Finding]:
    keys = store.keys.of_session(session_id)

    def fault(kind: Kind, index: int, problem: str, hint: str) -> Finding:
        return Finding(kind, session_id, keys[index], problem, hint=hint)

    foreign = [i for i in range(6) if seen.types[i] not in (_TYPES[i], "none")]
    for i in foreign:
        problem = f"it holds a {seen.types[i]}, not a {_TYPES[i]}; the session cannot be used"
        yield fault("wrong_type", i, problem, f"look at it, then RENAME or DEL {keys[i]}")
    if foreign:
        return
    if seen.types[3] == "none":
        for i in range(6):
            if seen.types[i] != "none":
                problem = "its session has no metadata, so nobody can use it"
                yield fault("leftover", i, problem, f"restore a backup, or look and DEL {keys[i]}")
        return
    if (schema := seen.number("schema") or 1) > SCHEMA:
        problem = f"it has schema {schema}, and this version reads up to {SCHEMA}"
        yield fault("newer_schema", 3, problem, "upgrade miniagent-redis here")
        return
    if lacking := [name for name in _NUMBERS if seen.number(name) is None]:
        problem = f"no number is in its fields {', '.join(lacking)}"
        yield fault("unreadable", 3, problem, f"restore it, or mend it with HSET {keys[3]}")
        return
    yield from _expiry_faults(session_id, seen, keys)
    if not seen.is_alive:
        if seen.types[0] == "none" and (seen.number("deadline") or 0) > seen.now:
            problem = "the session's document is gone before its time: evicted, or removed by hand"
            yield fault("leftover", 0, problem, "restore a backup; its thread stays until then")
        return
    yield from _document_faults(store, session_id, seen, keys[0])
    yield from records.findings(session_id, keys[1], is_closed=True)
    told = seen.number("message_count"), seen.number("bytes")
    if told != (records.count, records.size):
        problem = (
            f"it counts {told[0]} messages of {told[1]} bytes, and the thread has "
            f"{records.count} of {records.size}"
        )
        hint = REPAIR
        if (told[0] or 0) > records.count:
            problem += ": the others are lost"
            hint = f"restore a backup; to go on with what is there: {REPAIR}"
        yield fault("counter", 3, problem, hint)
    staged = Records()
    staged.add(store, seen.staged)
    yield from staged.findings(session_id, keys[2], is_closed=False)
    lease = seen.number("lease")
    if b"turn" in seen.metadata and lease is not None and lease < seen.now - STUCK_AFTER_MS:
        minutes = (seen.now - lease) // 60_000
        problem = f"its open turn has had no holder for {minutes} minutes"
        yield fault("stuck_turn", 3, problem, "the next message to the session finishes it")


def _expiry_faults(session_id: str, seen: Snapshot, keys: list[str]) -> Iterator[Finding]:
    deadline = seen.number("deadline") or 0
    for key, at in zip(keys, seen.expiries, strict=True):
        if at == -1 or 0 <= at < deadline:
            problem = "it has no TTL" if at == -1 else "it expires before its session does"
            yield Finding("expiry", session_id, key, problem, hint=REPAIR)


def _document_faults(
    store: RedisSessionManager, session_id: str, seen: Snapshot, key: str
) -> Iterator[Finding]:
    try:
        document = upcast(read_record(store, seen.document), "the session's document")
        if lacking := {"user_id", "agent_name", "data"} - document.keys():
            raise Unreadable(f"it lacks {', '.join(sorted(lacking))}")
    except SchemaTooNew as exc:
        hint = "upgrade miniagent-redis here"
        yield Finding("newer_schema", session_id, key, exc.problem, hint=hint)
    except Unreadable as exc:
        hint = "restore it from a backup, or end the session"
        yield Finding("unreadable", session_id, key, f"it cannot be read: {exc}", hint=hint)


def _mend(
    store: RedisSessionManager,
    session_id: str,
    seen: Snapshot,
    records: Records,
    found: list[Finding],
) -> list[Finding]:
    kinds = {finding.kind for finding in found}
    mended: set[Kind] = set()
    if "expiry" in kinds and run(store, "repair_expiry", session_id)[1]:
        mended.add("expiry")
    if "counter" in kinds:
        epoch, version = seen.metadata[b"epoch"], seen.metadata[b"version"]
        counted = records.count, records.size
        reply = run(store, "repair_counters", session_id, new_id(), epoch, version, *counted)
        if reply[0] == "ok" and reply[1]:
            mended.add("counter")
    return [
        evolve(finding, repaired=True, hint="") if finding.kind in mended else finding
        for finding in found
    ]
