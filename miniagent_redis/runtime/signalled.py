"""Whether an exception came from a handler of a signal: then it is meant for the whole program.

Job queues tell a job in this way that its time is up, Ctrl-C is told so; it may be raised in front
of any line, also in code that takes every exception for its own.
"""

from __future__ import annotations

import signal
import threading
from types import TracebackType


def raised_by_signal(error: BaseException) -> BaseException | None:
    """Return what a handler of a signal raised: the error, or one that it stands for; else None.

    Signals are handled in the main thread, so elsewhere it is None.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    handlers = [getattr(signal.getsignal(number), "__code__", None) for number in _handled()]
    codes = [code for code in handlers if code is not None]
    seen: set[int] = set()
    found: BaseException | None = error
    while codes and found is not None and id(found) not in seen:
        seen.add(id(found))
        if _passed(found.__traceback__, codes):
            return found
        found = found.__cause__ or found.__context__
    return None


def _handled() -> list[signal.Signals]:
    return [number for number in signal.valid_signals() if isinstance(number, signal.Signals)]


def _passed(trace: TracebackType | None, codes: list[object]) -> bool:
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False
