"""What was typed in earlier chats, in a file only the user can read: a JSON string per line."""

from __future__ import annotations

import json
import os
from pathlib import Path

_MOST = 1000  # lines
_LONGEST = 10_000  # characters: a pasted book is not wanted back


class LineMemory:
    """The lines of earlier chats. Without a folder, or if the file cannot be had, none."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "chat_history"
        self._latest: str | None = None

    def load(self) -> list[str]:
        """Return the latest lines, oldest first."""
        lines: list[str] = []
        if self._path is None:
            return lines
        try:
            for record in self._path.read_bytes().splitlines()[-_MOST:]:
                line = json.loads(record)
                if isinstance(line, str):
                    lines.append(line)
        except (OSError, ValueError):
            pass  # what was read until then is better than nothing
        return lines

    def add(self, line: str) -> None:
        """Keep a line, unless it is empty, very long, or the same as the one before."""
        if self._path is None or not line.strip() or len(line) > _LONGEST or line == self._latest:
            return
        self._latest = line
        try:
            # The embedded server may share the folder, and insists on its being private.
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.parent.stat().st_mode & 0o077:
                self._path.parent.chmod(0o700)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.fchmod(file, 0o600)
                os.write(file, json.dumps(line).encode() + b"\n")
            finally:
                os.close(file)
        except OSError:
            pass
