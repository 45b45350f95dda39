"""Checks of what a server says of itself: from INFO, and CONFIG where it is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .check import Check

OLDEST = (7, 0)
_NEARLY_FULL = 0.75
_FULL = 0.9
_APPEND = "CONFIG SET appendonly yes, then CONFIG REWRITE"

Info = Mapping[str, Any]


def version(info: Info) -> Check:
    """Tell whether it is Redis or Valkey, of a version that has what the scripts use."""
    is_valkey = info.get("server_name") == "valkey" or "valkey_version" in info
    compatible = str(info.get("redis_version", ""))
    detail = f"Valkey {info.get('valkey_version')}" if is_valkey else f"Redis {compatible}"
    if is_valkey:
        detail += f" (speaks Redis {compatible})"
    numbers = compatible.split(".")[:2]
    if len(numbers) < 2 or not all(part.isdigit() for part in numbers):
        return Check("version", "warn", f"it does not say which version it is: {compatible!r}")
    if tuple(map(int, numbers)) < OLDEST:
        return Check("version", "fail", detail, "upgrade to Redis or Valkey 7.0 or newer")
    return Check("version", "ok", detail)


def persistence(info: Info, config: Mapping[str, str] | None) -> Check:
    """Tell what a restart of the server would lose: the level is memory, everysec or always.

    ``config`` has appendfsync and save; None if the server does not tell.
    """
    name = "persistence"
    if not info.get("aof_enabled"):
        saves = bool(config and config.get("save"))
        if saves and info.get("rdb_last_bgsave_status") != "ok":
            return Check(name, "fail", "memory: and its last snapshot failed", _APPEND)
        if saves:
            lost = "all since the last snapshot"
            return Check(name, "warn", f"memory: a restart loses {lost}", _APPEND)
        if config is None:
            detail = "memory: no append-only file; CONFIG is forbidden, so snapshots are unknown"
            return Check(name, "warn", detail, "switch persistence on where the server is managed")
        return Check(name, "fail", "memory: a restart of the server loses everything", _APPEND)
    if info.get("aof_last_write_status") != "ok":
        detail = "the last write to the append-only file failed"
        return Check(name, "fail", detail, "make room on the server's disk, and see its log")
    if config is None or "appendfsync" not in config:
        detail = "append-only file; CONFIG is forbidden, so how often it is synced is unknown"
        return Check(name, "warn", detail, "ask who manages the server for its appendfsync")
    level = config["appendfsync"]
    if level == "always":
        return Check(name, "ok", "always: synced before each reply")
    if level == "everysec":
        return Check(name, "ok", "everysec: a crash or a power cut loses up to two seconds")
    detail = f"appendfsync {level}: a power cut loses what the system had not written yet"
    return Check(name, "warn", detail, "CONFIG SET appendfsync everysec, then CONFIG REWRITE")


def eviction(info: Info) -> Check:
    """Tell whether the server may throw sessions away that are still alive."""
    policy = info.get("maxmemory_policy")
    if policy is None:
        return Check("eviction", "warn", "the server does not tell its maxmemory-policy")
    if policy == "noeviction":
        return Check("eviction", "ok", "noeviction")
    fix = "CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE"
    return Check("eviction", "fail", f"{policy}: it may throw away live sessions", fix)


def memory(info: Info) -> Check:
    """Tell how far it is to the limit at which writes are refused."""
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not limit:
        return Check("memory", "ok", f"{size(used)} used, no limit set")
    detail = f"{size(used)} of {size(limit)} used ({used / limit:.0%})"
    fix = f"CONFIG SET maxmemory {max(limit, used) * 2}, then CONFIG REWRITE"
    if used >= _FULL * limit:
        return Check("memory", "fail", f"{detail}: writes will be refused", fix)
    if used >= _NEARLY_FULL * limit:
        return Check("memory", "warn", detail, fix)
    return Check("memory", "ok", detail)


def size(count: int) -> str:
    """Return a number of bytes as one says it."""
    return f"{count / 2**20:.1f} MB" if count < 2**30 else f"{count / 2**30:.1f} GB"
