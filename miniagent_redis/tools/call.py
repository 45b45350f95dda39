"""Run one tool call: whatever happens becomes text for the model."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum

from ..errors import ToolError
from ..models import ToolCall, ToolResult
from .context import ToolContext
from .registry import ToolRegistry
from .schema.plain import converter

LONGEST_RESULT = 100_000  # characters
_logger = logging.getLogger(__name__)


def call_tool(
    registry: ToolRegistry,
    call: ToolCall,
    *,
    longest: int = LONGEST_RESULT,
    context: Callable[[], ToolContext] | None = None,
) -> ToolResult:
    """Run the tool and return its result as text; blocks as long as the tool takes.

    A tool that raises, that does not exist, or whose arguments do not fit gives a result with
    ``is_error``, for the model to read; the last two with ``not_run``. Only KeyboardInterrupt,
    SystemExit and their like pass. A text of more than ``longest`` characters is cut, and then says
    so at its end. Async tools are run by ``registry.run_coroutine``. A tool that takes a
    ToolContext is given what ``context`` returns, which may block; without it, that of nobody's
    turn.
    """
    tool = registry.get(call.name)
    is_error = was_run = True
    if tool is None:
        was_run = False
        names = ", ".join(each.name for each in registry) or "none"
        text = f"there is no tool {call.name!r}; the tools are: {names}"
    else:
        try:
            was_run = False
            run = tool.ready(call.arguments, context)
            was_run = True
            value = run()
            if isinstance(value, Coroutine):
                value = registry.run_coroutine(value)
            text, is_error = result_text(value), False
        except ToolError as exc:
            text = str(exc)
        except (Exception, asyncio.CancelledError) as exc:
            _logger.warning("tool %s failed", call.name, exc_info=True)
            # Unlike str() this survives an exception that cannot be printed.
            text = "".join(traceback.format_exception_only(exc)).strip()
    return ToolResult(call.id, call.name, _cut(text, longest), is_error, not_run=not was_run)


def result_text(value: object) -> str:
    """Return a tool's value as the model reads it.

    Text stays as it is, None is empty, data (attrs classes and dataclasses too, and what an
    iterator gives) becomes JSON, and anything else is what ``str`` makes of it.
    """
    if isinstance(value, Enum):  # before text: some are both
        value = value.value
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, Iterator):
        value = list(value)
    try:
        plain = converter.unstructure(value)
        if isinstance(plain, str):
            return plain
        if isinstance(plain, (bool, int, float, list, tuple, dict, set, frozenset)):
            return json.dumps(plain, ensure_ascii=False, default=_inner)
    except (TypeError, ValueError, RecursionError):
        pass  # keys that are no text, or a circle
    return str(value)


def _inner(value: object) -> object:
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else str(value)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return (
        f"{text[:longest]}\n"
        f"[cut here: the result has {len(text):,} characters, only the first "
        f"{longest:,} are shown]"
    )
