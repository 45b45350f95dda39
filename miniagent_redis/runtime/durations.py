"""Lengths of time as callers give them: seconds, a timedelta, or text such as 90s, 12h or 30d.

One reader for arguments, settings, environment variables and options of the command line.
"""

from __future__ import annotations

import re
from datetime import timedelta
from math import inf
from typing import Any

from .checks import number

Duration = float | timedelta | str
"""Seconds, a timedelta, or text: "500ms", "90s", "15m", "12h", "30d", "2w", "1h30m"."""
FORMS = "give seconds, a timedelta, or text such as '90s', '12h' or '30d'"
NEVER = "never"
"""Text for None, where something may be without end."""
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|[smhdw])", re.IGNORECASE)
_WHOLE = re.compile(rf"(?:{_PART.pattern}\s*)+", re.IGNORECASE)


def seconds(value: Duration) -> float:
    """Return how many seconds are meant.

    What is no length of time comes back as it is, for a check to refuse it by its name. So does
    text without a unit: in a program it may be meant as anything.
    """
    found: Any = value
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        parts: list[tuple[str, str]] = _PART.findall(value)
        found = sum(float(count) * _UNITS[unit.lower()] for count, unit in parts)
    return found  # type: ignore[no-any-return]


def is_never(value: object) -> bool:
    """Whether it says that there is no end: None, or "never"."""
    return value is None or (isinstance(value, str) and value.strip().lower() == NEVER)


def seconds_or_none(value: Duration | None) -> float | None:
    """Return what ``seconds`` does; None for None and for "never"."""
    return None if value is None or is_never(value) else seconds(value)


def duration_from_outside(text: str) -> Duration:
    """Return the seconds, or "never", of an environment variable or an option.

    A number without a unit is in seconds there. Raises ValueError for what is no length of time.
    """
    found = NEVER if is_never(text) else seconds(text)
    if found != text or found == NEVER:
        return found
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"it is no length of time; {FORMS}") from None


def duration(
    value: object, what: str, least: float = 0.0, *, above: bool = False, most: float = inf
) -> float:
    """Return a length of time in seconds, of at least ``least``, or ``above`` it.

    Raises InvalidInput for anything else.
    """
    found = seconds(value)  # type: ignore[arg-type]
    return number(found, what, least, above=above, most=most, hint=FORMS)
