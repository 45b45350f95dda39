"""Doing something in the middle of a call: in front of each line of the library that it runs.

As a signal handler does it, or the garbage collection, in the thread that makes the call.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import miniagent_redis
from tests.support.waiting import LIMIT

_PACKAGE = str(Path(miniagent_redis.__file__).parent)
Line = tuple[str, int]


def lines_of(call: Callable[[], object]) -> list[Line]:
    """Run the call; return each line of the library that it runs from the second time on."""
    call()
    lines: dict[Line, None] = {}
    _run(call, lambda line: lines.setdefault(line))
    return list(lines)


def run_at(line: Line, act: Callable[[], object], call: Callable[[], object]) -> bool:
    """Run the call, with ``act`` in front of a line; return whether it came to that line.

    Raises what the call raised. Fails if it never ends.
    """
    done = False

    def look(now: Line) -> None:
        nonlocal done
        if now == line and not done:
            done = True
            act()

    _run(call, look)
    return done


def _run(call: Callable[[], object], look: Callable[[Line], object]) -> None:
    raised: list[BaseException] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if event == "line":
            look((frame.f_code.co_filename, frame.f_lineno))
        return trace

    def run() -> None:
        sys.settrace(trace)
        try:
            call()
        except BaseException as exc:
            raised.append(exc)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LIMIT)
    if thread.is_alive() and (frame := sys._current_frames().get(thread.ident or 0)):
        raise AssertionError("the call hangs:\n" + "".join(traceback.format_stack(frame)))
    if raised:
        raise raised[0]
