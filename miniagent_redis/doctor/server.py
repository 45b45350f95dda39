"""Checks of what a server says of itself: from INFO, and CONFIG where it is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..connection.kept import Kept
from ..connection.refusals import NEEDED
from ..connection.versions import Version
from .check import Check

_NEARLY_FULL = 0.75
_FULL = 0.9
_SLOW = 100.0  # ms
_FAR = 10  # seconds since a replica was heard of

Info = Mapping[str, Any]
Cure = Callable[[str, str], str]
"""Returns the line that gives a setting of the server a value."""


def version(info: Info) -> Check:
    """Tell whether it is Redis or Valkey, of a version that has what the scripts use."""
    told = Version.of(info)
    if not told.numbers:
        return Check("version", "warn", f"it does not say which version it is: {told.name}")
    if told.is_too_old:
        return Check("version", "fail", told.name, f"upgrade it: {NEEDED}")
    return Check("version", "ok", told.name)


def role(info: Info) -> Check:
    """Tell whether it takes writes, who follows it, and how far behind."""
    told = info.get("role")
    if told is None:
        return Check("role", "warn", "the server does not tell its role")
    if told != "master":
        primary = f"{info.get('master_host')}:{info.get('master_port')}"
        detail = f"a replica of {primary}: what is written here is refused or lost"
        if info.get("master_link_status") != "up":
            detail += ", and its link to that is down"
        return Check("role", "fail", detail, f"name the primary in place of it: redis://{primary}")
    replicas = list(_replicas(info))
    if not replicas:
        return Check("role", "ok", "primary, without replicas")
    end = int(info.get("master_repl_offset", 0))
    behind = max(end - int(each.get("offset", 0)) for each in replicas)
    lag = max(int(each.get("lag", 0)) for each in replicas)
    away = sum(each.get("state") != "online" for each in replicas)
    count = "1 replica" if len(replicas) == 1 else f"{len(replicas)} replicas"
    detail = f"primary, {count}: {lag} s and {max(behind, 0)} bytes behind"
    if away:
        detail += f", {away} not in step yet"
    if away or lag > _FAR:
        fix = "see the log of that replica, and how much its network carries"
        return Check("role", "warn", detail, fix)
    return Check("role", "ok", detail)


def _replicas(info: Info) -> Iterator[Mapping[str, Any]]:
    for number in range(int(info.get("connected_slaves", 0))):
        if isinstance(told := info.get(f"slave{number}"), Mapping):
            yield told


def in_step(info: Info) -> int:
    """Return how many replicas have all that there is, or will in a moment."""
    return sum(
        each.get("state") == "online" and int(each.get("lag", 0)) <= _FAR
        for each in _replicas(info)
    )


_SET = re.compile(r"CONFIG SET (\S+) ('[^']*'|\S+)")


def settings(info: Info, checks: Sequence[Check]) -> Check:
    """Tell whether what ``checks`` want to be set lasts."""
    if file := info.get("config_file"):
        return Check("settings", "ok", f"kept in {file}")
    detail = "the server was started without a configuration file"
    if wanted := [found for check in checks for found in _SET.findall(check.fix)]:
        options = " ".join(f"--{name} {value}" for name, value in wanted)
        fix = f"set it where the server is started, too: redis-server {options}"
        return Check("settings", "warn", f"{detail}: what CONFIG SET does ends with it", fix)
    return Check("settings", "ok", detail)


def scripts(latencies: Info) -> Check:
    """Tell how long scripts take on the server, those of other programs among them."""
    slowest: Mapping[str, Any] = max(
        (
            told
            for name, told in latencies.items()
            if name.startswith("latency_percentiles_usec_eval") and isinstance(told, Mapping)
        ),
        key=lambda told: float(told.get("p99.9", 0)),
        default={},
    )
    if not slowest:
        return Check("scripts", "ok", "none has run yet, or the server does not tell")
    half, late = (float(slowest.get(each, 0)) / 1000 for each in ("p50", "p99.9"))
    detail = f"p50 {half:.2f} ms, p99.9 {late:.2f} ms on the server"
    if late < _SLOW:
        return Check("scripts", "ok", detail)
    return Check("scripts", "warn", detail, "SLOWLOG GET there tells which, and on which keys")


def persistence(info: Info, config: Mapping[str, str] | None, cure: Cure) -> Check:
    """Tell what a restart of the server would lose: the level is memory, everysec or always.

    ``config`` has appendfsync and save; None if the server does not tell.
    """
    name, append = "persistence", cure("appendonly", "yes")
    kept = Kept.of(info, config)
    detail = f"{kept.durability}: {kept.meaning}"
    if kept.appends:
        if info.get("aof_last_write_status") != "ok":
            detail = "the last write to the append-only file failed"
            return Check(name, "fail", detail, "make room on the server's disk, and see its log")
        if kept.durability == "unknown":
            return Check(name, "warn", detail, "ask who manages the server for its appendfsync")
        if kept.durability == "memory":
            return Check(name, "warn", detail, cure("appendfsync", "everysec"))
        return Check(name, "ok", detail)
    if kept.keeps_nothing is None:
        return Check(name, "warn", detail, "switch persistence on where the server is managed")
    if kept.keeps_nothing:
        return Check(name, "fail", detail, append)
    if info.get("rdb_last_bgsave_status") != "ok":
        return Check(name, "fail", "memory: and its last snapshot failed", append)
    return Check(name, "warn", detail, append)


def eviction(info: Info, cure: Cure) -> Check:
    """Tell whether the server may throw sessions away that are still alive."""
    kept = Kept.of(info, None)
    policy = kept.settings.get("maxmemory-policy")
    if policy is None:
        return Check("eviction", "warn", "the server does not tell its maxmemory-policy")
    if policy == "noeviction":
        return Check("eviction", "ok", "noeviction")
    detail = next((one.text for one in kept.worries), "")
    detail = detail or f"{policy}: it may throw away live sessions, once maxmemory is set"
    return Check("eviction", "fail", detail, cure("maxmemory-policy", "noeviction"))


def memory(info: Info, cure: Cure) -> Check:
    """Tell how far it is to the limit at which writes are refused."""
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not limit:
        return Check("memory", "ok", f"{size(used)} used, no limit set")
    detail = f"{size(used)} of {size(limit)} used ({used / limit:.0%})"
    fix = cure("maxmemory", str(max(limit, used) * 2))
    if used >= _FULL * limit:
        return Check("memory", "fail", f"{detail}: writes will be refused", fix)
    if used >= _NEARLY_FULL * limit:
        return Check("memory", "warn", detail, fix)
    return Check("memory", "ok", detail)


def size(count: int) -> str:
    """Return a number of bytes as one says it."""
    return f"{count / 2**20:.1f} MB" if count < 2**30 else f"{count / 2**30:.1f} GB"
