"""The managers that the whole process shares, for asyncio."""

from __future__ import annotations

from contextlib import closing
from functools import partial

from ..config.redis import RedisConfig
from ..runtime.cancellation import Caller
from ..runtime.threads import Pool
from ..store.manager import RedisSessionManager as _Store
from ..store.shared import get_redis_manager as _get_redis_manager
from .store import Before, RedisSessionManager

_facades: dict[_Store, RedisSessionManager] = {}


async def get_redis_manager(config: RedisConfig | None = None) -> RedisSessionManager:
    """Return this process's connected manager for ``config`` (default: from the environment).

    The same one for the same settings. Raises StoreUnavailable or StoreMisconfigured.
    """
    with closing(Pool("miniagent-redis-aio-connect", 1)) as pool:
        store = await Caller().run(pool, partial(_get_redis_manager, config))
    if store not in _facades:
        _facades[store] = Before(store)
    return _facades[store]
