"""Persistent, distributed, multi-user conversations for LLM agents in Redis.

Everything here is synchronous; ``miniagent_redis.aio`` has the same names with ``await``.

A name is loaded when it is first used: redis-py alone takes 130 ms to import, which a program that
only wants its ``--help`` should not pay.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import *  # noqa: F403

if TYPE_CHECKING:
    from .agent import AgentConfig, StreamCallback
    from .config import RedisConfig
    from .models import (
        Approve,
        Budget,
        Deny,
        Event,
        EventType,
        Message,
        Price,
        RateLimit,
        ToolCall,
        ToolResult,
        TurnResult,
        Usage,
        UsageTotals,
        WaitingCall,
    )
    from .session import SessionAgent, SessionManager, SessionThread
    from .store.manager import RedisSessionManager
    from .store.shared import get_redis_manager
    from .tools import ToolContext, ToolRegistry

_HOMES = {
    "agent": ("AgentConfig", "StreamCallback"),
    "config": ("RedisConfig",),
    "models": (
        "Approve",
        "Budget",
        "Deny",
        "Event",
        "EventType",
        "Message",
        "Price",
        "RateLimit",
        "ToolCall",
        "ToolResult",
        "TurnResult",
        "Usage",
        "UsageTotals",
        "WaitingCall",
    ),
    "session": ("SessionAgent", "SessionManager", "SessionThread"),
    "store.manager": ("RedisSessionManager",),
    "store.shared": ("get_redis_manager",),
    "tools": ("ToolContext", "ToolRegistry"),
}

__all__ = [
    "AgentConfig",
    "Approve",
    "Budget",
    "Deny",
    "Event",
    "EventType",
    "Message",
    "Price",
    "RateLimit",
    "RedisConfig",
    "RedisSessionManager",
    "SessionAgent",
    "SessionManager",
    "SessionThread",
    "StreamCallback",
    "ToolCall",
    "ToolContext",
    "ToolRegistry",
    "ToolResult",
    "TurnResult",
    "Usage",
    "UsageTotals",
    "WaitingCall",
    "get_redis_manager",
]
__all__ += errors.__all__


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value  # from now on it is found without this function
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
