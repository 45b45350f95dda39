"""What users hold: SessionAgent, SessionManager, SessionThread."""

from .agent import SessionAgent
from .manager import SessionManager
from .thread import SessionThread

__all__ = ["SessionAgent", "SessionManager", "SessionThread"]
