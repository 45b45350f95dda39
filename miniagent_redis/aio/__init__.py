"""The library for asyncio: the same names, with ``await``.

The very same blocking code runs in threads, so there is one implementation. What may ask Redis or
a model is awaited. ``agent.thread(id)`` and ``manager.lock(name)`` only make an object, ``submit``
starts a task, ``stream`` and ``get_messages`` are iterated with ``async for``, and ``serialize``
and ``deserialize`` stay plain functions, called in a thread.

A cancelled call waits for its thread, so that a turn is either stored or dropped by the time
CancelledError arrives: at once while an async model or tool is waited for.
Threads see the task's context variables. Plain callbacks and tools run in threads; ``async def``
ones run in the event loop of the task whose turn it is, and are cancelled with it. Any number of
event loops may use one object, one after the other or at once.
"""

from .. import errors
from ..agent import AgentConfig
from ..config.redis import RedisConfig
from ..errors import *  # noqa: F403
from ..models import (
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
from ..tools import ToolContext
from .hooks import StreamCallback, ToolRegistry
from .session import SessionAgent, SessionManager
from .shared import get_redis_manager
from .store import RedisSessionManager
from .thread import SessionThread

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
