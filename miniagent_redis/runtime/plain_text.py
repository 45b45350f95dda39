"""Text that somebody wrote, for people to read: without what a terminal obeys, and on a line."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]{0,2000}(?:\x07|\x1b\\|\x9c)"  # titles
    r"|\x1b[ -/]*[0-~]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: str) -> str:
    """Return the text without what a terminal would obey; line feeds and tabs stay."""
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def one_line(text: str, longest: int) -> str:
    """Return safe text on one line of at most ``longest`` characters, with "…" where it is cut."""
    # A long text is not gone through for the sake of its beginning.
    line = " ".join(safe(text[: longest * 20]).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
