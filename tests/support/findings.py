"""What a test of fsck asks: for the only finding, and for what is stored."""

from __future__ import annotations

from miniagent_redis import RedisSessionManager
from miniagent_redis.doctor.fsck import Finding

METADATA = "metadata:{s}"


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def thread(store: RedisSessionManager) -> list[bytes]:
    return list(store.client.lrange("thread:{s}", 0, -1))  # type: ignore[arg-type]
