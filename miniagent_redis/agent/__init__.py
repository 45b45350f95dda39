"""The agent: how a turn is worked out (steps.py) and driven (agent.py). Knows nothing of Redis."""

from .agent import Agent, TurnOutcome
from .callbacks import Callback, StreamCallback
from .config import AgentConfig
from .context import enough_for
from .turn_context import TurnContext
from .view import History, conversation

__all__ = [
    "Agent",
    "AgentConfig",
    "Callback",
    "History",
    "StreamCallback",
    "TurnContext",
    "TurnOutcome",
    "conversation",
    "enough_for",
]
