"""Settings and addresses."""

from .redis import RedisConfig

__all__ = ["RedisConfig"]
