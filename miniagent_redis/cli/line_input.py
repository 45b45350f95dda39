"""Where lines come from: a pipe, a plain terminal, or one with ``prompt_toolkit``.

Readers have ``read() -> str | None``, None at the end; Ctrl-C raises KeyboardInterrupt. Bytes that
are no text in the terminal's encoding come as U+FFFD.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from typing import Protocol

from .line_memory import LineMemory
from .signals import ENDING, ending_kept

_PROMPT = "> "


class Reader(Protocol):
    """A source of lines. ``tip`` is what to know about typing here, if anything."""

    tip: str

    def read(self) -> str | None:
        """Return the next line without its end, or None if there is no more."""
        ...


class PipeReader:
    """Lines from a file or another program."""

    tip = ""

    def read(self) -> str | None:
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None


class PlainReader:
    """Lines typed at a terminal, edited with readline where Python has it."""

    tip = ""

    def __init__(self, memory: LineMemory) -> None:
        self._memory = memory
        try:
            import readline
        except ImportError:
            return
        for line in memory.load():
            readline.add_history(line.replace("\n", " "))

    def read(self) -> str | None:
        try:
            if sys.stdout.isatty():
                line = input(_PROMPT)
            else:
                # input() would write its prompt to stdout.
                sys.stderr.write(_PROMPT)
                sys.stderr.flush()
                line = sys.stdin.readline()
                if not line:
                    raise EOFError
        except EOFError:
            sys.stderr.write("\n")  # Ctrl-D leaves the cursor behind the prompt
            return None
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            raise
        line = line.rstrip("\n")
        self._memory.add(line)
        return line


class PromptReader:
    """Lines typed at a terminal, edited with ``prompt_toolkit``: what is pasted is one message."""

    tip = "Alt-Enter begins a new line, and lines that are pasted stay together."

    def __init__(self, memory: LineMemory) -> None:
        self._memory = memory
        self._ask = _prompt(memory.load())

    def read(self) -> str | None:
        try:
            with ending_kept():
                line = self._ask(pre_run=_end_in_order)
        except EOFError:
            return None
        line = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self._memory.add(line)
        return line


def _end_in_order() -> None:
    """Let a signal end the prompt from its event loop: an exception in there would be reported."""
    from prompt_toolkit.application import get_app

    prompt = get_app()

    def end(number: int) -> None:
        if not prompt.is_done:
            prompt.exit(exception=SystemExit(128 + number))

    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, end, number)


def _prompt(history: list[str]) -> Callable[..., str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.enums import DEFAULT_BUFFER
    from prompt_toolkit.filters import has_focus
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import ColorDepth, create_output

    keys = KeyBindings()

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=has_focus(DEFAULT_BUFFER))
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    colourless = bool(os.environ.get("NO_COLOR"))
    session: PromptSession[str] = PromptSession(
        _PROMPT if colourless else [("bold ansigreen", _PROMPT)],
        multiline=True,
        prompt_continuation="  ",
        key_bindings=keys,
        history=InMemoryHistory(history),
        enable_suspend=True,
        color_depth=ColorDepth.DEPTH_1_BIT if colourless else None,
        output=create_output(always_prefer_tty=True),
    )
    return session.prompt


def is_interactive() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())


def open_reader(*, remembers: bool = True) -> Reader:
    """Return the best reader for what stdin is, which may keep the lines in a file, readable."""
    if not is_interactive():
        return PipeReader()
    import platformdirs

    folder = platformdirs.user_data_path("miniagent-redis") if remembers else None
    memory = LineMemory(folder)
    if importlib.util.find_spec("prompt_toolkit"):
        return PromptReader(memory)
    return PlainReader(memory)
