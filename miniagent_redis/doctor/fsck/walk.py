"""Walks through everything of one namespace, for administrators: ``check``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from shlex import quote

from ...store.core import StoreCore
from ...store.keys import SHARDS, decode_id, read_member
from ...store.manager import RedisSessionManager
from ...store.usage import KEPT_MS
from ..shell import key_command
from .finding import Finding
from .index import Entry, check_entries, check_index, entries_of, put_back
from .ours import is_our_session, ours_of
from .server import scan
from .session import Snapshot, check_sessions

_TOGETHER = 100
"""Sessions that are asked for in one round trip."""

TRIAL = "doctor-trial-"
"""How the ids of the sessions begin on which the doctor tries a turn; 32 hexadecimal digits follow.

They are in no index and gone in a moment.
"""
_TRIALS = re.compile(TRIAL + "[0-9a-f]{32}")

Tell = Callable[[str], object]
"""Called, several times a second, with how far it has come."""


def check(
    store: RedisSessionManager, *, repair: bool = False, tell: Tell = lambda done: None
) -> list[Finding]:
    """Return what is wrong in the store's namespace; with ``repair``, mend what can be mended.

    Mended are index entries, expiry and counters. Messages are never touched, nor is what other
    programs keep under names like ours. It may run while others work, and can be repeated and
    interrupted at will.

    An administrator's tool: it walks through the whole keyspace with SCAN and through all indexes
    and threads, in pages that hold nobody up: some 0.2 ms for a session of 20 messages. It keeps
    the ids of all sessions in memory. Nothing else in the library does so. Raises StoreUnavailable
    or StoreMisconfigured.
    """
    core = store.parts.core
    findings: list[Finding] = []
    removed: list[Entry] = []
    checked: set[str] = set()
    gone: set[str] = set()
    keys = core.keys
    kinds = keys.sessions, keys.deadlines, keys.turns, keys.waiting
    known = {key(shard) for shard in range(SHARDS) for key in kinds}
    indexes = known.copy()
    for names in _pages(core):
        indexes |= {name for name in names if _is_user_index(core, name)}
        several = sorted(_session_ids(core, names) - checked)
        for start in range(0, len(several), _TOGETHER):
            some = several[start : start + _TOGETHER]
            alive: dict[str, Snapshot] = {}
            for session_id, seen, found in check_sessions(
                core, some, partial(is_our_session, core), repair=repair
            ):
                findings += found
                if seen.is_alive:
                    alive[session_id] = seen
                    known.update(index for index, _ in entries_of(core, session_id, seen))
            findings += check_entries(core, alive, repair=repair)
            checked.update(some)
            tell(f"{len(checked):,} sessions looked at")
        findings += _staying(core, names)
    for number, index in enumerate(sorted(indexes)):
        tell(f"{number:,} of {len(indexes):,} indexes of {len(checked):,} sessions looked at")
        entries, found = check_index(core, index, gone, is_known=index in known, repair=repair)
        removed += entries
        findings += found
        gone |= {one.session_id for one in found if one.session_id and index in known}
    put_back(core, removed)
    return list(dict.fromkeys(findings))  # SCAN may name a key twice


def _pages(core: StoreCore) -> Iterator[list[str]]:
    ns = core.keys.ns
    # Locks of earlier versions have their namespace behind the first word.
    for pattern in (f"{ns}*", f"lock*:{ns}{{*") if ns else ("*",):
        for names in scan(core, pattern):
            yield sorted({name.decode("utf-8", "backslashreplace") for name in names})


def _session_ids(core: StoreCore, names: Sequence[str]) -> set[str]:
    ours = re.compile(
        re.escape(core.keys.ns) + r"(?:session|thread|turn|metadata|ops|events):\{([^{}]+)\}"
    )
    tags = {found[1] for name in names if (found := ours.fullmatch(name))}
    ids = {tag: decode_id(tag) for tag in tags}
    # A long id is a digest in its keys; the metadata has it in full.
    keys = {tag: core.keys.metadata_of(tag) for tag, one in ids.items() if one is None}
    kinds = core.call_many([("TYPE", key) for key in keys.values()])
    digests = [tag for tag, kind in zip(keys, kinds, strict=True) if kind == b"hash"]
    told = core.call_many([("HGET", keys[tag], "id") for tag in digests])
    for tag, full in zip(digests, told, strict=True):
        ids[tag] = None if full is None else read_member(full)
    return {one for one in ids.values() if one is not None and not _TRIALS.fullmatch(one)}


def _is_user_index(core: StoreCore, name: str) -> bool:
    return name.startswith(f"{core.keys.ns}user:{{") and name.endswith(("}:sessions", "}:waiting"))


def _staying(core: StoreCore, names: Sequence[str]) -> list[Finding]:
    """Return our keys that belong to no session, and would stay for ever but should not."""
    ns = core.keys.ns
    counting = (f"{ns}budget:{{limits}}:", f"{ns}usage:{{totals}}:")
    expiring = (
        *counting,
        f"{ns}queue:{{",
        f"{ns}cache:",
        f"{ns}rate_limit:{{",
        f"{ns}lock:{{",
        f"{ns}lock-signal:{{",
        f"lock:{ns}{{",
        f"lock-signal:{ns}{{",
    )
    keys = [name for name in names if name.startswith(expiring)]
    ttls = core.call_many([("PTTL", key) for key in keys])
    staying = [key for key, ttl in zip(keys, ttls, strict=True) if ttl == -1]
    found = ours_of(core, staying)
    begin = key_command(core.config) if found else ""
    return [
        Finding("expiry", None, key, "it has no TTL", hint=f"{begin} EXPIRE {quote(key)} {seconds}")
        for key in found
        for seconds in (KEPT_MS // 1000 if key.startswith(counting) else 3600,)
    ]
