"""Interrupting a call in front of each step of the interpreter, as Ctrl-C may at some of them."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Interrupted(BaseException):
    """What is thrown into the call."""


def interrupted_everywhere(call: Callable[[], object]) -> Iterator[int]:
    """Make the call again and again, each time broken off one step later, until it gets through.

    Yields after each with the number of the step.
    """
    step = 1
    while _is_interrupted(call, step):
        yield step
        step += 1


def _is_interrupted(call: Callable[[], object], step: int) -> bool:
    steps = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == step:
                raise Interrupted
        return trace

    gc.disable()  # what it would run has nothing to do with the call
    before = sys.gettrace()  # which measures coverage
    sys._getframe().f_trace_opcodes = True  # Python 3.12 asks for it when tracing begins
    sys.settrace(trace)
    try:
        call()
    except Interrupted:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


def hangs(call: Callable[[], object], limit: float) -> bool:
    """Make the call in another thread; say whether it is not over after ``limit`` seconds."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(limit)
    return thread.is_alive()
