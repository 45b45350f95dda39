"""The Flask extension: conversations of an app's users, streamed, resumed, and never mixed up."""

from ..doors.problems import Problem, problem_of
from ..doors.refusals import (
    ForeignOrigin,
    MessageTooLarge,
    NotLoggedIn,
    NotSetUp,
    ReadOnly,
    TooManyStreams,
    TurnNotFound,
)
from .answers import response_to
from .bound import BoundManager
from .console.standalone import console_app
from .extension import MiniAgent, agents_of, current_agents
from .front_ends import front_ends_blueprint
from .openai import openai_blueprint

__all__ = [
    "BoundManager",
    "ForeignOrigin",
    "MessageTooLarge",
    "MiniAgent",
    "NotLoggedIn",
    "NotSetUp",
    "Problem",
    "ReadOnly",
    "TooManyStreams",
    "TurnNotFound",
    "agents_of",
    "console_app",
    "current_agents",
    "front_ends_blueprint",
    "openai_blueprint",
    "problem_of",
    "response_to",
]
