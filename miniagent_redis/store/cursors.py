"""Cursors: where a page of a listing ended, as a text that callers hand back."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import InvalidInput
from ..runtime.checks import whole_number
from .keys import check_session_id

P = TypeVar("P")
Entry = tuple[float, str]
"""A score and a session id, as an index has them."""
Position = tuple[float, str, int]
"""The last entry that was seen, and how many had its score by then."""
_MOST_TIED = 1000
"""A cursor comes from outside and must not make one reply large."""


def after(entries: list[Entry], at: Position | None) -> Position:
    """Return the place behind entries that were found behind another place."""
    score, last = entries[-1]
    tied = sum(1 for entry in entries if entry[0] == score)
    if at is not None and at[0] == score:
        tied += at[2]
    return score, last, min(tied, _MOST_TIED)


def position_of(data: Any) -> Position:
    """Return the place that a cursor has; raises what ``read_cursor`` takes for a bad one."""
    score, last, tied = data
    if not math.isfinite(score):
        raise ValueError("not a time")
    return float(score), check_session_id(last), min(whole_number(tied, "tied"), _MOST_TIED)


def cursor_of(data: Any) -> str:
    """Return the text for something that JSON can hold."""
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode()


def read_cursor(cursor: str | None, parse: Callable[[Any], P]) -> P | None:
    """Return what a cursor stands for; raises InvalidInput for one that nobody gave."""
    if cursor is None:
        return None
    try:
        return parse(json.loads(base64.urlsafe_b64decode(cursor)))
    except (ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise InvalidInput(
            "the cursor is not one that a listing gave",
            hint="pass the cursor of the page before as it is, or None for the first page",
        ) from exc
