"""Random ids, drawn from the system some at a time: each draw lets other threads take over."""

from __future__ import annotations

import os

from .forking import reset_after_fork

_AT_ONCE = 64
_DIGITS = 32


class _Stock:
    """Ids that nobody has had yet. A forked child has none of its parent's."""

    def __init__(self) -> None:
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self.ids: list[str] = []


_stock = _Stock()


def new_id() -> str:
    """Return a fresh random id: 32 hexadecimal digits, 128 bits."""
    ids = _stock.ids
    try:
        return ids.pop()
    except IndexError:
        drawn = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
        first, *others = [drawn[at : at + _DIGITS] for at in range(0, len(drawn), _DIGITS)]
        ids.extend(others)  # a child that was forked meanwhile looks into another list
        return first
