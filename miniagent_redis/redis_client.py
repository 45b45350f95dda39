"""The store by the module name that programs written for the original import it from."""

from .config.redis import RedisConfig
from .store.manager import RedisSessionManager
from .store.shared import get_redis_manager

__all__ = ["RedisConfig", "RedisSessionManager", "get_redis_manager"]
