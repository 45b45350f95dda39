"""The agent: how a turn is worked out (steps.py) and driven (agent.py). Knows nothing of Redis."""

from .agent import Agent, TurnOutcome
from .callbacks import Callback, StreamCallback
from .config import AgentConfig
from .view import conversation

__all__ = [
    "Agent",
    "AgentConfig",
    "Callback",
    "StreamCallback",
    "TurnOutcome",
    "conversation",
]
