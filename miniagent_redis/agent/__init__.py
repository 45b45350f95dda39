"""The agent: how a turn is worked out (steps.py) and driven (agent.py). Knows nothing of Redis."""

from .agent import Agent
from .callbacks import Callback, StreamCallback
from .config import AgentConfig
from .context import enough_for
from .instructions import Instructions
from .outcome import TurnOutcome
from .turn_context import TurnContext
from .turn_options import USUAL, OnClose, TurnOptions
from .view import History, conversation

__all__ = [
    "USUAL",
    "Agent",
    "AgentConfig",
    "Callback",
    "History",
    "Instructions",
    "OnClose",
    "StreamCallback",
    "TurnContext",
    "TurnOptions",
    "TurnOutcome",
    "conversation",
    "enough_for",
]
