"""Calls of several steps: all of them mean the session that the first one met.

Between two steps others may end it and make another one of the same id, which is perhaps somebody
else's. Each step behind the first goes on from its answer (tries.py), so that no such session is
found by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import wraps
from typing import Any, TypeVar, cast

from ..runtime.clock import Clock
from .keys import check_session_id
from .tries import Tries

C = TypeVar("C", bound=Callable[..., Any])
Place = tuple[int, str]
"""What tells the connections of a store, and the key of a session there."""
_MET: ContextVar[dict[Place, Tries | None]] = ContextVar("_MET")
"""By the sessions on which such a call works: how to go on from its first answer."""


def of_one_session(method: C) -> C:
    """Have all steps of a method on one session, its first argument, mean the same one."""

    @wraps(method)
    def call(noun: Any, session_id: str, *args: Any, **options: Any) -> Any:
        with one_session(noun._core, session_id):
            return method(noun, session_id, *args, **options)

    return cast(C, call)


@contextmanager
def one_session(core: Any, session_id: str) -> Iterator[None]:
    """Have all that this code does on a session while the block runs mean the same one."""
    place = id(core.scripts), core.keys.session(check_session_id(session_id))
    met = _MET.get({})
    if place in met:  # a part of a greater call
        yield
        return
    token = _MET.set({**met, place: None})
    try:
        yield
    finally:
        _MET.reset(token)


def first_tries(place: Place) -> Tries:
    """Return the tries of an operation that is about to begin on a session."""
    known = _MET.get({}).get(place)
    return Tries() if known is None else copy(known)


def note_answer(place: Place, tries: Tries, clock: Clock) -> None:
    """Note that a session has answered: the first answer is that of the one which is meant."""
    met = _MET.get({})
    if place in met and met[place] is None:
        met[place] = known = copy(tries)
        known.go_on(clock)
