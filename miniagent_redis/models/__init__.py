"""The data that travels: frozen attrs classes that know nothing of Redis or of any model vendor."""

from .event import Event, EventType
from .message import Message, Role, ToolCall, Usage, isoformat, new_id
from .session import ExpiredSession, OpenTurn, Page, SessionState, ThreadSlice, UnreadableRecord
from .turn import ToolResult, TurnResult
from .usage import UsageTotals

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
    "UsageTotals",
    "isoformat",
    "new_id",
]
