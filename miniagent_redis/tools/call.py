"""Run one tool call: whatever happens becomes text for the model."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback

from cattrs import Converter

from ..errors import ToolError
from ..models import ToolCall, ToolResult
from .registry import ToolRegistry

LONGEST_RESULT = 100_000  # characters
_logger = logging.getLogger(__name__)
_converter = Converter()


def call_tool(registry: ToolRegistry, call: ToolCall) -> ToolResult:
    """Run the tool and return its result as text; blocks as long as the tool takes.

    A tool that raises, that does not exist, or whose arguments do not fit gives a result with
    ``is_error``, for the model to read. Only KeyboardInterrupt, SystemExit and their like pass.
    Async tools are run by ``registry.run_coroutine``, so not from inside a running event loop.
    """
    tool = registry.get(call.name)
    if tool is None:
        names = ", ".join(each.name for each in registry) or "none"
        return _failed(call, f"there is no tool {call.name!r}; the tools are: {names}")
    try:
        value = tool(call.arguments)
        if asyncio.iscoroutine(value):
            value = registry.run_coroutine(value)
        return ToolResult(call.id, call.name, _cut(result_text(value)))
    except ToolError as exc:
        return _failed(call, str(exc))
    except (Exception, asyncio.CancelledError) as exc:
        _logger.warning("tool %s failed", call.name, exc_info=True)
        # Unlike str() this survives an exception that cannot be printed.
        return _failed(call, "".join(traceback.format_exception_only(exc)).strip())


def result_text(value: object) -> str:
    """Return a tool's value as the model reads it.

    Text stays as it is, None is empty, data (attrs classes and dataclasses too) becomes JSON, and
    anything else is what ``str`` makes of it.
    """
    if isinstance(value, str):
        return str(value)
    if value is None:
        return ""
    try:
        plain = _converter.unstructure(value)
        if isinstance(plain, str):
            return plain
        if isinstance(plain, (bool, int, float, list, tuple, dict)):
            return json.dumps(plain, ensure_ascii=False, default=_inner)
    except (TypeError, ValueError, RecursionError):
        pass  # keys that are no text, or a circle
    return str(value)


def _inner(value: object) -> object:
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else str(value)


def _failed(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, _cut(text), is_error=True)


def _cut(text: str) -> str:
    if len(text) <= LONGEST_RESULT:
        return text
    return (
        f"{text[:LONGEST_RESULT]}\n"
        f"[cut here: the result has {len(text):,} characters, only the first "
        f"{LONGEST_RESULT:,} are shown]"
    )
