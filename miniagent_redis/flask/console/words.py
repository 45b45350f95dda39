"""Numbers, times and texts as the console's pages show them; ids as its addresses have them."""

from __future__ import annotations

import base64
import re
from datetime import datetime

from markupsafe import Markup

from ...errors import InvalidInput

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a browser shows nothing of: commands to terminals, what turns the direction of text round,
and halves of characters, which cannot be sent at all."""
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_CODED = "~"


def visible(value: object) -> object:
    """Return what a template prints, with signs in the place of what could not be seen."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _HIDDEN.sub(_sign, value.replace("\r\n", "\n"))


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}"


def to_link(name: str) -> str:
    """Return an id as an address or a form can have it: any text comes back whole."""
    if name.isprintable() and not name.startswith(_CODED):
        return name
    raw = name.encode("utf-8", "surrogatepass")
    return _CODED + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_link(text: str) -> str:
    """Return the id of which ``to_link`` made this. Raises InvalidInput."""
    if not text.startswith(_CODED):
        return text
    try:
        coded = text.removeprefix(_CODED)
        raw = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
        return raw.decode("utf-8", "surrogatepass")
    except ValueError as exc:
        raise InvalidInput("this id is none that a page gave", cause=str(exc)) from exc


def seconds_of(moment: str) -> float:
    """Return an ISO 8601 time in seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def span(seconds: float) -> str:
    """Say a length of time in one unit, or two: "45 s", "3 h 20 min", "12 d"."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for (length, unit), smaller in zip(_UNITS, (*_UNITS[1:], None), strict=True):
        if seconds >= length:
            whole, rest = divmod(int(seconds), length)
            if smaller is None or whole >= 10 or rest < smaller[0]:
                return f"{whole} {unit}"
            return f"{whole} {unit} {rest // smaller[0]} {smaller[1]}"
    return "0 s"


def ago(seconds: float) -> str:
    """Say how long ago it was, in one unit."""
    for length, unit in _UNITS[:3]:
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def number(count: int) -> str:
    """Return "12,345"."""
    return f"{count:,}"


def counted(count: int, noun: str) -> str:
    """Return "1 message", "2 messages"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def money(usd: float) -> str:
    """Return "$0.0042", "$12.30", or a dash for nothing."""
    if not usd:
        return "\u2013"
    return f"${usd:,.2f}" if usd >= 0.1 else f"${usd:.4f}"


def size(count: int) -> str:
    """Return "312 B", "4.2 kB", "1.3 MB"."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def one_line(text: str, longest: int) -> str:
    """Return the text on one line, with "…" where it is cut."""
    line = " ".join(text[: longest * 8].split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
