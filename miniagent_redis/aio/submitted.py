"""A turn that was submitted, as a task."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..models import TurnResult
from ..session.in_pauses import Submitting


class Submitted(asyncio.Task[TurnResult]):
    """A turn that was submitted: a task that has its result, or its error.

    Cancelling it cancels the turn.
    """

    def __init__(self, submitting: Submitting, coroutine: Coroutine[Any, Any, TurnResult]) -> None:
        super().__init__(coroutine)
        self._submitting = submitting

    @property
    def turn_id(self) -> str:
        """The turn's id, known at once."""
        return self._submitting.turn_id

    @property
    def cursor(self) -> str:
        """The place in front of the turn's first event; empty until it has begun.

        ``watch(session_id, after=cursor)`` sees the whole turn either way.
        """
        return self._submitting.cursor
