"""Run one tool call: whatever happens becomes something for the model to read.

A call is done in steps: a generator yields the coroutine of an async tool and is sent what that
comes to, so that a thread, or an event loop without one, may wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from ..error_base import as_written
from ..errors import ToolError
from ..models import Inquiry, ToolCall, ToolResult
from .asking import AskUser
from .context import ToolContext
from .registry import ToolRegistry
from .results import Content, cut, result_content

LONGEST_RESULT = 100_000  # characters
CallInSteps = Generator[Coroutine[Any, Any, Any], Any, ToolResult]
"""A call at work: each coroutine that it yields is to be awaited, and its result sent."""
_logger = logging.getLogger(__name__)


def call_tool(
    registry: ToolRegistry,
    call: ToolCall,
    *,
    longest: int = LONGEST_RESULT,
    context: Callable[[], ToolContext] | None = None,
) -> ToolResult:
    """Run the tool and return its result, as text or as parts of content; blocks until it ends.

    A tool that raises, that does not exist, or whose arguments do not fit gives a result with
    ``is_error``, for the model to read; the last two with ``not_run``. Only KeyboardInterrupt,
    SystemExit and their like pass. A text of more than ``longest`` characters is cut, and then says
    so at its end. What is returned as a ToolResult counts as it is. Async tools are run by
    ``registry.run_coroutine``. A tool that takes a ToolContext is given what ``context`` returns,
    which may block; without it, that of nobody's turn. One that ``asks`` has no result yet.
    """
    return run_steps(call_in_steps(registry, call, longest=longest, context=context), registry)


def run_steps(steps: CallInSteps, registry: ToolRegistry) -> ToolResult:
    """Do all steps of a call, and block while ``registry.run_coroutine`` awaits."""
    try:
        coroutine = next(steps)
        while True:
            try:
                value = registry.run_coroutine(coroutine)
            except BaseException as exc:
                coroutine = steps.throw(exc)
            else:
                coroutine = steps.send(value)
    except StopIteration as end:
        result: ToolResult = end.value
        return result


def call_in_steps(
    registry: ToolRegistry,
    call: ToolCall,
    *,
    longest: int = LONGEST_RESULT,
    context: Callable[[], ToolContext] | None = None,
) -> CallInSteps:
    """Run the tool as ``call_tool`` does; the caller awaits what is to be awaited."""
    tool = registry.get(call.name)
    is_error = was_run = True
    if tool is None:
        was_run = False
        names = ", ".join(each.name for each in registry) or "none"
        content: Content = f"there is no tool {call.name!r}; the tools are: {names}"
    else:
        try:
            was_run = False
            run = tool.ready(call.arguments, context)
            was_run = True
            value = run()
            if isinstance(value, Coroutine):
                value = yield value
            if isinstance(value, ToolResult):
                content, is_error = value.content, value.is_error
            else:
                content, is_error = result_content(value), False
        except AskUser as exc:
            asks = Inquiry(exc.question, exc.state)
            return ToolResult(call.id, call.name, exc.question.message, asks=asks)
        except ToolError as exc:
            content = as_written(exc)
        except (Exception, asyncio.CancelledError) as exc:
            _logger.warning("tool %s failed", call.name, exc_info=True)
            # Unlike str() this survives an exception that cannot be printed.
            content = "".join(traceback.format_exception_only(exc)).strip()
    return ToolResult(call.id, call.name, cut(content, longest), is_error, not_run=not was_run)
