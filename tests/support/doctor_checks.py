"""The checks of the doctor on a store, by name."""

from __future__ import annotations

from typing import Any

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.doctor import Check, diagnose


def examine(url: str, **options: Any) -> dict[str, Check]:
    return examine_with(RedisConfig(url=url), **options)


def examine_with(config: RedisConfig, **options: Any) -> dict[str, Check]:
    store = RedisSessionManager(config, **options)
    try:
        return {check.name: check for check in diagnose(store)}
    finally:
        store.disconnect()


def verdicts(checks: dict[str, Check]) -> set[str]:
    return {check.verdict for check in checks.values()}
