"""What a forked child has to start anew: locks that other threads held, what belongs to the parent.

The child of ``os.fork`` has one thread. A lock that another thread held at that instant stays
locked there for ever, and what that thread was changing stays half changed.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any


def anew_in_child(start: Callable[[], None]) -> None:
    """Call a bound method in every forked child, for as long as its object lives.

    It makes new locks and drops what is the parent's; it must not block or raise.
    """
    method: Any = start
    reference = weakref.ref(method.__self__, _forget)
    _starts[id(reference)] = reference, method.__func__


# Not a WeakSet: the fork may hit it in the middle of another thread's change, and a dict's are
# single steps. Not WeakMethods: those complain when the interpreter ends before their objects.
_starts: dict[int, tuple[weakref.ref[Any], Callable[[Any], None]]] = {}


def _forget(reference: weakref.ref[Any], starts: dict[int, Any] = _starts) -> None:
    starts.pop(id(reference), None)


def _start_anew() -> None:
    for reference, start in list(_starts.values()):
        if (owner := reference()) is not None:
            start(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
