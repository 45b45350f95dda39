"""Where things are printed: answers and results on stdout, talk on stderr.

All text that is printed here is made safe first. Colours and tables by ``rich``, if it is
installed and there is a terminal to see them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from .text import safe


class Terminal:
    """Plain text."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    @property
    def is_seen(self) -> bool:
        """Whether somebody watches what is said, and not a file."""
        return self._err.isatty()

    def write(self, text: str) -> None:
        """Print a piece of an answer or a result, at once and as it is: it must be safe."""
        self._out.write(text)
        self._out.flush()

    def result(self, line: str) -> None:
        """Print a whole line on stdout."""
        self.write(safe(line) + "\n")

    def plain(self, text: str) -> None:
        """Print a line of talk."""
        self._say(text, "")

    def note(self, text: str) -> None:
        """Print a line of talk that is less important than what is said."""
        self._say(text, "dim")

    def error(self, problem: str, cause: str = "", fix: str = "") -> None:
        """Print what went wrong."""
        self._say(f"Error: {problem}", "red")
        if cause:
            self._say(f"  Cause: {cause}", "")
        if fix:
            self._say(f"  Fix: {fix.strip()}", "")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table on stdout; its last column may be long."""
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.result("  ".join(cells).rstrip())

    def _say(self, text: str, style: str) -> None:
        self._out.flush()
        self._err.write(safe(text) + "\n")
        self._err.flush()


class PrettyTerminal(Terminal):
    """The same with colours, and tables that fit the width."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        from rich.console import Console

        def console(stream: TextIO) -> Console:
            # Said by the stream alone: FORCE_COLOR in a job's environment is not for our pipes.
            seen = stream.isatty()
            has_colours = seen and not os.environ.get("NO_COLOR")
            return Console(
                file=stream,
                force_terminal=seen,
                color_system="auto" if has_colours else None,
                highlight=False,
            )

        super().__init__(out, err)
        self._talk = console(err)
        self._results = console(out)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        if not self._out.isatty():
            return super().table(header, rows)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in header[:-1]:
            table.add_column(title, overflow="fold")
        table.add_column(header[-1], no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(safe(cell)) for cell in row))
        self._results.print(table)

    def _say(self, text: str, style: str) -> None:
        from rich.text import Text

        self._out.flush()
        self._talk.print(Text(safe(text), style), soft_wrap=True)


def open_terminal() -> Terminal:
    """Return the terminal to print on, as pretty as it can be."""
    seen = sys.stdout.isatty() or sys.stderr.isatty()
    if seen and importlib.util.find_spec("rich"):
        return PrettyTerminal(sys.stdout, sys.stderr)
    return Terminal(sys.stdout, sys.stderr)
