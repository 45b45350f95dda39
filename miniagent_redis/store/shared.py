"""The managers that the whole process shares: one for the same settings."""

from __future__ import annotations

from typing import Any

from attrs import astuple

from ..config import RedisConfig
from .manager import RedisSessionManager

_shared: dict[tuple[Any, ...], RedisSessionManager] = {}


def get_redis_manager(config: RedisConfig | None = None) -> RedisSessionManager:
    """Return this process's connected manager for ``config`` (default: from the environment).

    The same one for the same settings. Raises StoreUnavailable or StoreMisconfigured.
    """
    settings = astuple(config := RedisConfig.given(config))
    manager = _shared.get(settings) or _shared.setdefault(settings, RedisSessionManager(config))
    manager.connect()
    return manager
