"""What is ours in a database that other programs use too, by what is in it.

A name alone says little: another program may call its keys alike, and what it keeps there is
neither damaged nor to be removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from ...errors import SchemaTooNew
from ...records.frame import Unreadable
from ...records.sealed import EncryptionKeyMissing
from ...store.core import StoreCore
from .session import Snapshot

_FIELDS = frozenset(
    (b"epoch", b"message_count", b"deadline", b"last_activity", b"holder", b"lease", b"max_end")
)
_EVENT = frozenset((b"type", b"turn", b"version"))
_COUNTER = frozenset((b"start", b"current", b"previous"))
_BUDGET = frozenset((b"period", b"spent"))
_HOLDER = re.compile(rb"[0-9a-f]{32}( \d+)?")
_TOGETHER = 100


def is_our_session(core: StoreCore, session_id: str, seen: Snapshot) -> bool:
    """Whether one of the session's keys holds what only we write there."""
    if len(_FIELDS & seen.metadata.keys()) > 1:
        return True
    if _is_record(core, seen.document, "session", session_id):
        return True
    _, thread, _, _, _, events, _ = core.keys.of_session(session_id)
    messages = list(seen.staged[:1])
    if seen.types[1] == "list":
        messages += core.call("LRANGE", thread, 0, 0)
    if any(_is_record(core, raw, "message", session_id) for raw in messages):
        return True
    if seen.types[5] == "stream":
        for _, fields in core.call("XRANGE", events, "-", "+", "COUNT", 1):
            return set(fields[::2]) >= _EVENT
    return False


def _is_record(core: StoreCore, raw: bytes, kind: str, key: str) -> bool:
    try:
        core.format.decode(raw, core.where(kind, key))
    except (SchemaTooNew, EncryptionKeyMissing):
        return True
    except Unreadable:
        return False
    return True


def ours_of(core: StoreCore, names: Sequence[str]) -> Iterator[str]:
    """Yield those of the keys that are ours and belong to no session: cached values and the like.

    They are looked at by what is in them, so only a few should be asked for.
    """
    for start in range(0, len(names), _TOGETHER):
        some = names[start : start + _TOGETHER]
        types = core.call_many([("TYPE", name) for name in some])
        for name, kind in zip(some, types, strict=True):
            if _is_ours(core, name, kind.decode()):
                yield name


def _is_ours(core: StoreCore, name: str, kind: str) -> bool:
    ns = core.keys.ns
    if name.startswith(f"{ns}cache:"):
        key = unquote(name.removeprefix(f"{ns}cache:"), errors="surrogatepass")
        return kind == "string" and _is_record(core, core.call("GET", name) or b"", "cache", key)
    if name.startswith(f"{ns}rate_limit:{{"):
        return kind == "hash" and set(core.call("HKEYS", name)) >= _COUNTER
    if name.startswith(f"{ns}budget:{{"):
        return kind == "hash" and set(core.call("HKEYS", name)) >= _BUDGET
    if name.startswith((f"{ns}lock:{{", f"lock:{ns}{{")):  # the second: of older versions
        return kind == "string" and bool(_HOLDER.fullmatch(core.call("GET", name) or b""))
    if name.startswith((f"{ns}lock-signal:{{", f"lock-signal:{ns}{{")):
        return kind == "list" and core.call("LRANGE", name, 0, 1) in ([], [b"1"])
    return kind in ("hash", "string")  # of usage, whose names are like no other
