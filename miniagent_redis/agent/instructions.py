"""What a model is told first: a text, or a function that says it for whom a turn is."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import InvalidInput, MiniAgentError
from ..models import ToolContext
from ..runtime.signalled import raised_by_signal
from ..tools import ToolRegistry
from .turn_context import TurnContext

Instructions = str | Callable[[ToolContext], str | Coroutine[Any, Any, str]]


def check_instructions(given: object, what: str) -> None:
    """Raise InvalidInput for what is neither text nor a function."""
    if not isinstance(given, str) and (not callable(given) or isinstance(given, type)):
        raise InvalidInput(
            f"{what} must be text, not {given!r:.100}",
            hint="or a function that is given a ToolContext and returns the text",
        )


def text_of(given: Instructions, what: str, turn: TurnContext, tools: ToolRegistry) -> str:
    """Return the text for the turn; blocks as long as the function does.

    An async one is run as async tools are. Raises InvalidInput, with its error as the cause.
    """
    if isinstance(given, str):
        return given
    try:
        text: object = given(turn.tool_context())
        if isinstance(text, Coroutine):
            text = tools.run_coroutine(text)
    except MiniAgentError:
        raise
    except Exception as exc:
        if (told := raised_by_signal(exc)) is not None:
            raise told from None
        cause = f"{type(exc).__name__}: {exc}"
        raise InvalidInput(f"the function for {what} failed", cause=cause) from exc
    if not isinstance(text, str):
        raise InvalidInput(f"the function for {what} must return text, not {text!r:.100}")
    return text
