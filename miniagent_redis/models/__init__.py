"""The data that travels: frozen attrs classes that know nothing of Redis or of any model vendor."""

from ..runtime.ids import new_id
from .budget import Budget
from .context import ToolContext
from .event import Event, EventType
from .inquiry import Inquiry
from .limits import Per, Price, RateLimit
from .message import Message, Role, ToolCall, isoformat
from .session import (
    ExpiredSession,
    Forgotten,
    OpenTurn,
    Page,
    SessionState,
    ThreadSlice,
    UnreadableRecord,
    Version,
)
from .turn import OnBusy, ToolResult, TurnResult, TurnStands, TurnState
from .usage import Usage, UsageTotals
from .waiting import Approve, Deny, Question, WaitingCall, WaitsFor

__all__ = [
    "Approve",
    "Budget",
    "Deny",
    "Event",
    "EventType",
    "ExpiredSession",
    "Forgotten",
    "Inquiry",
    "Message",
    "OnBusy",
    "OpenTurn",
    "Page",
    "Per",
    "Price",
    "Question",
    "RateLimit",
    "Role",
    "SessionState",
    "ThreadSlice",
    "ToolCall",
    "ToolContext",
    "ToolResult",
    "TurnResult",
    "TurnStands",
    "TurnState",
    "UnreadableRecord",
    "Usage",
    "UsageTotals",
    "Version",
    "WaitingCall",
    "WaitsFor",
    "isoformat",
    "new_id",
]
