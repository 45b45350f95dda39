"""Walks through everything of one namespace, for administrators: ``check``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..keys import SHARDS
from ..store.manager import RedisSessionManager
from .finding import Finding
from .index import Entry, check_entries, check_index, put_back
from .server import call_many, scan
from .session import check_session


def check(store: RedisSessionManager, *, repair: bool = False) -> list[Finding]:
    """Return what is wrong in the store's namespace; with ``repair``, mend what can be mended.

    Mended are index entries, expiry and counters. Messages are never touched. It may run while
    others work, and can be repeated and interrupted at will.

    An administrator's tool: it walks through the whole keyspace with SCAN and through all indexes
    and threads, in pages that hold nobody up: some 0.6 ms for a session of 20 messages. It keeps
    the ids of all sessions in memory. Nothing else in the library does so. Raises
    StoreUnavailable or StoreMisconfigured.
    """
    findings: list[Finding] = []
    removed: list[Entry] = []
    checked: set[str] = set()
    indexes = {
        key(shard) for shard in range(SHARDS) for key in (store.keys.sessions, store.keys.deadlines)
    }
    for names in _pages(store):
        indexes |= {name for name in names if _is_user_index(store, name)}
        for session_id in _session_ids(store, names) - checked:
            checked.add(session_id)
            seen, found = check_session(store, session_id, repair=repair)
            findings += found
            if seen.is_alive:
                findings += check_entries(store, session_id, seen, repair=repair)
        findings += _staying(store, names)
    for index in sorted(indexes):
        entries, found = check_index(store, index, repair=repair)
        removed += entries
        findings += found
    put_back(store, removed)
    return list(dict.fromkeys(findings))  # SCAN may name a key twice


def _pages(store: RedisSessionManager) -> Iterator[list[str]]:
    ns = store.keys.ns
    # Locks have their namespace behind the first word.
    for pattern in (f"{ns}*", f"lock*:{ns}{{*") if ns else ("*",):
        for names in scan(store, pattern):
            yield sorted({name.decode("utf-8", "backslashreplace") for name in names})


def _session_ids(store: RedisSessionManager, names: Sequence[str]) -> set[str]:
    ours = re.compile(
        re.escape(store.keys.ns) + r"(?:session|thread|turn|metadata|ops|events):"
        r"\{([A-Za-z0-9][A-Za-z0-9._:@-]{0,127})\}"
    )
    return {found[1] for name in names if (found := ours.fullmatch(name))}


def _is_user_index(store: RedisSessionManager, name: str) -> bool:
    return name.startswith(f"{store.keys.ns}user:{{") and name.endswith("}:sessions")


def _staying(store: RedisSessionManager, names: Sequence[str]) -> list[Finding]:
    """Return the keys that belong to no session, and would stay for ever but should not."""
    ns = store.keys.ns
    expiring = (
        f"{ns}cache:",
        f"{ns}rate_limit:{{",
        f"{ns}usage:{{",
        f"lock:{ns}{{",
        f"lock-signal:{ns}{{",
    )
    keys = [name for name in names if name.startswith(expiring)]
    ttls = call_many(store, [("PTTL", key) for key in keys])
    return [
        Finding("expiry", None, key, "it has no TTL", hint=f"EXPIRE {key} 3600, or DEL {key}")
        for key, ttl in zip(keys, ttls, strict=True)
        if ttl == -1
    ]
