"""Signals: how Ctrl-C stops an answer, and how the program ends in order when it is told to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_kept() -> Iterator[None]:
    """Restore what the signals that end the program do, which an event loop resets at its end."""
    before = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def orderly_exit() -> Iterator[None]:
    """Turn SIGTERM and a closed terminal (SIGHUP) into SystemExit, so that everything is closed.

    Without it the embedded server would be left running.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    before = {}
    for number in ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has set it to be ignored
            before[number] = signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupt:
    """Whether Ctrl-C was pressed."""

    has_come = False


@contextmanager
def one_interrupt() -> Iterator[Interrupt]:
    """Let one Ctrl-C raise KeyboardInterrupt in the block, and no second one.

    What the first one stopped is being tidied up then; a second would leave that half done. The
    exception that arrives may be another: a lock that was interrupted half way was seen to raise
    RuntimeError in its place. So ask the Interrupt.
    """
    interrupt = Interrupt()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        interrupt.has_come = True
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:  # as it is for a job in the background
        signal.signal(signal.SIGINT, stop)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
