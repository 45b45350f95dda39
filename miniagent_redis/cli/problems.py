"""Errors as a person at the command line reads them: problem, cause, fix."""

from __future__ import annotations

import traceback

from ..errors import (
    MiniAgentError,
    NotDurable,
    SessionBusy,
    SessionNotFound,
    SessionTooLarge,
    TurnNotSaved,
    TurnSuperseded,
    TurnUncertain,
)
from .options import is_debugging
from .terminal import Terminal

# The errors' own hints name methods; these name what can be typed.
_FIXES: dict[type[BaseException], str] = {
    NotDurable: "once all replicas are up again, type history to see whether it was saved",
    SessionBusy: "try again in a moment, or type new to start another session",
    SessionNotFound: "type list to see what is there, or new to start another session",
    SessionTooLarge: "send less, type clear or new, or set MINIAGENT_MAX_SESSION_SIZE (in bytes), "
    "or MINIAGENT_ON_FULL=trim to keep the newest",
    TurnNotSaved: "send the message again once Redis is back",
    TurnSuperseded: "send the message again if it is still wanted",
    TurnUncertain: "once Redis answers again, type history to see whether it was saved",
}


def show_problem(terminal: Terminal, error: Exception) -> None:
    """Print the error on stderr, with its traceback if ``--debug`` was given."""
    if is_debugging():
        terminal.plain("".join(traceback.format_exception(error)))
    if isinstance(error, MiniAgentError):
        fix = _FIXES.get(type(error), error.hint)
        terminal.error(error.problem, error.cause, fix)
    else:
        terminal.error(
            "something went wrong that should not have",
            f"{type(error).__name__}: {error}",
            "" if is_debugging() else "run it again with --debug, and report what it shows",
        )
