"""The data that travels: frozen attrs classes that know nothing of Redis or of any model vendor."""

from .event import Event, EventType
from .message import Message, Role, ToolCall, Usage, isoformat, new_id
from .session import ExpiredSession, OpenTurn, Page, SessionState, ThreadSlice, UnreadableRecord
from .turn import ToolResult, TurnResult

__all__ = [
    "Event",
    "EventType",
    "ExpiredSession",
    "Message",
    "OpenTurn",
    "Page",
    "Role",
    "SessionState",
    "ThreadSlice",
    "ToolCall",
    "ToolResult",
    "TurnResult",
    "UnreadableRecord",
    "Usage",
    "isoformat",
    "new_id",
]
