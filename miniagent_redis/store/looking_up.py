"""Looking into the thread for a write of which the server has forgotten whether it was done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MiniAgentError, SessionNotFound, TurnSuperseded, TurnUncertain
from .core import OnSession
from .tries import Uncertain


@contextmanager
def looking_up(on: OnSession) -> Iterator[None]:
    """Raise TurnUncertain for what stops the look, where a reply to the write was lost.

    That Redis is away by now says nothing of the write.
    """
    try:
        yield
    except (SessionNotFound, TurnSuperseded, TurnUncertain):
        raise
    except MiniAgentError as exc:
        if on.operation is None or not on.tries.is_lost:
            raise
        on.core.uncertain.note(on.operation, Uncertain(on.tries, on.shows))
        raise TurnUncertain(on.session_id, on.operation, str(exc)) from exc
