"""What a forked child has to start anew: locks that other threads held, what belongs to the parent.

The child of ``os.fork`` has one thread. A lock that another thread held at that instant stays
locked there for ever, and what that thread was changing stays half changed. So a class makes its
locks, and drops what is its parent's, in one method that both its ``__init__`` and each child call:

    def __init__(self) -> None:
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

S = TypeVar("S")

# By the object's identity and the method's name, in the order of the first calls. Not a WeakSet: a
# fork may hit it in the middle of another thread's change, and a dictionary's are single steps. Not
# WeakMethods: those complain when the interpreter ends before their objects.
_Calls = dict[tuple[int, str], "weakref.ref[Any]"]
_resets: _Calls = {}
_restarts: _Calls = {}

log: logging.Logger = logging.getLogger("miniagent_redis")


def reset_after_fork(method: Callable[[S], None]) -> Callable[[S], None]:
    """Decorate a method so that, once called on an object, each forked child calls it again.

    It is called for every such object that lives, in the order of the first calls; by its name, so
    a subclass that overrides it calls ``super()``. It must not block, and must not raise: that is
    logged, and the others are called. An object whose first call failed is left alone. With
    ``__slots__`` the class needs ``__weakref__``.
    """
    return _called_again(method, _resets)


def restart_after_fork(method: Callable[[S], None]) -> Callable[[S], None]:
    """Do the same for a method that starts a thread: children call it once all is reset."""
    return _called_again(method, _restarts)


def _called_again(method: Callable[[S], None], calls: _Calls) -> Callable[[S], None]:
    @wraps(method)
    def call(self: S) -> None:
        method(self)
        _call_again(self, method.__name__, calls)

    return call


def _call_again(owner: object, name: str, calls: _Calls) -> None:
    key = id(owner), name
    if key not in calls:
        # The dictionary's own method: it is there even when the interpreter ends.
        forget: Callable[[Any], object] = partial(calls.pop, key)
        calls[key] = weakref.ref(owner, forget)


def _in_child() -> None:
    for calls in (_resets, _restarts):
        # A copy in one step: making a list of pairs would let the collector run, and what it finds
        # dead leaves the dictionary under our hands.
        for (_, name), reference in calls.copy().items():
            if (owner := reference()) is not None:
                try:
                    getattr(owner, name)()
                except Exception:
                    log.exception("%r may not work in this forked process", type(owner))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
