"""Looks at all that is stored of one session, and mends its counters and its expiry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from attrs import evolve, frozen

from ...errors import SchemaTooNew, SessionNotFound
from ...models import new_id
from ...records.frame import SCHEMA, Unreadable
from ...records.sealed import EncryptionKeyMissing
from ...store.core import StoreCore
from ...store.keys import NEVER_MS, to_text
from ...store.operations.repair import inspect_session, repair_counters, repair_expiry
from ...store.waiting_calls import is_parked
from .finding import REPAIR, Finding, Kind
from .thread import Records, read_threads

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
    def kept(self) -> int | None:
        """How many messages its thread has to have: all but those that were let go of."""
        count = self.number("message_count")
        head = self.number("head") if b"head" in self.metadata else 0
        return None if count is None or head is None else count - head

    @property
    def user(self) -> str:
        return to_text(self.metadata.get(b"user", b""))

    @property
    def is_parked(self) -> bool:
        """Whether its open turn waits for an answer."""
        return is_parked(self.metadata.get(b"turn"), self.metadata.get(b"waits"))

    @property
    def is_alive(self) -> bool:
        """Whether the scripts take it for a session."""
        deadline = self.number("deadline")
        return self.types[0] == "string" and deadline is not None and deadline > self.now


def take_snapshots(core: StoreCore, session_ids: Sequence[str]) -> list[Snapshot]:
    """Read what is stored of each session, all of it at one instant; several at once."""
    return [
        Snapshot(
            now=seen.now_ms,
            types=tuple(kind.decode() for kind in seen.types),
            expiries=tuple(seen.expiries),
            document=seen.document,
            metadata=dict(zip(seen.metadata[::2], seen.metadata[1::2], strict=True)),
            length=seen.length,
            staged=tuple(seen.staged),
        )
        for seen in inspect_session(core, session_ids)
    ]


def check_sessions(
    core: StoreCore,
    session_ids: Sequence[str],
    is_ours: Callable[[str, Snapshot], bool],
    *,
    repair: bool,
) -> Iterator[tuple[str, Snapshot, list[Finding]]]:
    """Yield of each session what there is of it, and what is wrong with it.

    They are asked for together; where something seems wrong, that one is looked at by itself.
    Nothing is wrong with what is not ours.
    """
    for session_id, seen, records in _look(core, session_ids):
        if any(_faults(core, session_id, seen, records)) and is_ours(session_id, seen):
            yield session_id, *_check_again(core, session_id, repair=repair)
        else:
            yield session_id, seen, []


def _look(core: StoreCore, session_ids: Sequence[str]) -> Iterator[tuple[str, Snapshot, Records]]:
    snapshots = dict(zip(session_ids, take_snapshots(core, session_ids), strict=True))
    threads = read_threads(
        core,
        {
            session_id: seen.length
            for session_id, seen in snapshots.items()
            if seen.is_alive and seen.types[1] == "list"
        },
    )
    for session_id, seen in snapshots.items():
        yield session_id, seen, threads.get(session_id) or Records()


def _check_again(
    core: StoreCore, session_id: str, *, repair: bool
) -> tuple[Snapshot, list[Finding]]:
    """Return what there is of the session and what is wrong with it.

    Others may work on it at the same time: a fault counts when nothing moved while it was found.
    """
    tries = _TRIES
    while True:
        tries -= 1
        ((_, seen, records),) = _look(core, [session_id])
        found = list(_faults(core, session_id, seen, records))
        if not found or not tries:
            break
        (later,) = take_snapshots(core, [session_id])
        if evolve(later, now=seen.now) == seen:
            break
    if repair and found:
        found = _mend(core, session_id, seen, records, found)
    return seen, found


def _faults(
    core: StoreCore, session_id: str, seen: Snapshot, records: Records
) -> Iterator[Finding]:
    keys = core.keys.of_session(session_id)

    def fault(kind: Kind, index: int, problem: str, hint: str) -> Finding:
        return Finding(kind, session_id, keys[index], problem, hint=hint)

    foreign = [i for i in range(6) if seen.types[i] not in (_TYPES[i], "none")]
    for i in foreign:
        problem = f"it holds a {seen.types[i]}, not a {_TYPES[i]}; the session cannot be used"
        yield fault("wrong_type", i, problem, f"look at it, then RENAME or DEL {keys[i]}")
    if foreign:
        return
    if seen.types[0] == "none" and seen.metadata.keys() == {b"moving"}:
        return  # of a copy that is under way, or broke off: it stays for an hour at the most
    if seen.types[3] == "none":
        is_told_ended = seen.types.count("none") == 5 and 0 <= seen.expiries[4] - seen.now <= 60_000
        for i in range(6):
            if seen.types[i] != "none" and not is_told_ended:  # which is known for a minute
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
    yield from _document_faults(core, session_id, seen, keys[0])
    yield from records.findings(session_id, keys[1], is_closed=True)
    told = seen.kept, seen.number("bytes")
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
    staged.add(core, session_id, seen.staged)
    yield from staged.findings(session_id, keys[2], is_closed=False)
    lease = seen.number("lease")
    if not seen.metadata.get(b"turn") or lease is None or seen.is_parked:
        return
    if lease < seen.now - STUCK_AFTER_MS:
        minutes = (seen.now - lease) // 60_000
        problem = f"its open turn has had no holder for {minutes} minutes"
        yield fault("stuck_turn", 3, problem, "the next message to the session finishes it")


def _expiry_faults(session_id: str, seen: Snapshot, keys: list[str]) -> Iterator[Finding]:
    deadline = seen.number("deadline") or 0
    for key, at in zip(keys, seen.expiries, strict=False):
        if (at == -1 and deadline < NEVER_MS) or 0 <= at < min(deadline, NEVER_MS):
            problem = "it has no TTL" if at == -1 else "it expires before its session does"
            yield Finding("expiry", session_id, key, problem, hint=REPAIR)


def _document_faults(
    core: StoreCore, session_id: str, seen: Snapshot, key: str
) -> Iterator[Finding]:
    try:
        document = core.format.decode(seen.document, core.where("session", session_id))
        if lacking := {"user_id", "agent_name", "data"} - document.keys():
            raise Unreadable(f"it lacks {', '.join(sorted(lacking))}")
    except SchemaTooNew as exc:
        hint = "upgrade miniagent-redis here"
        yield Finding("newer_schema", session_id, key, exc.problem, hint=hint)
    except EncryptionKeyMissing as exc:
        yield Finding("no_key", session_id, key, exc.problem, hint=exc.hint)
    except Unreadable as exc:
        hint = "restore it from a backup, or end the session"
        yield Finding("unreadable", session_id, key, f"it cannot be read: {exc}", hint=hint)


def _mend(
    core: StoreCore,
    session_id: str,
    seen: Snapshot,
    records: Records,
    found: list[Finding],
) -> list[Finding]:
    kinds = {finding.kind for finding in found}
    mended: set[Kind] = set()
    on = core.on(session_id)
    if "expiry" in kinds and repair_expiry(on):
        mended.add("expiry")
    if "counter" in kinds:
        with suppress(SessionNotFound):  # it has ended meanwhile
            if repair_counters(
                on,
                operation=new_id(),
                epoch=seen.metadata[b"epoch"],
                version=seen.metadata[b"version"],
                count=records.count,
                size=records.size,
            ):
                mended.add("counter")
    return [
        evolve(finding, repaired=True, hint="") if finding.kind in mended else finding
        for finding in found
    ]
