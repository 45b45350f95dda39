"""The turns of an agent for who cannot block: they pause instead, and others decide how to wait."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from attrs import define

from ..errors import SessionWaiting
from ..models import Message, TurnResult
from ..runtime.pausing import Pause
from ..store.parking import Answer
from ..tools import ToolRegistry
from .asked import Asked
from .results import Turn, only_pauses, whole
from .turns import AgentTurns, Started


@define
class Submitting:
    """A turn that is done in steps: its id, and the place in front of its first event.

    That is known once it has begun.
    """

    turn_id: str
    cursor: str = ""

    def has_begun(self, started: Started) -> None:
        """Take note of where it began."""
        self.cursor = started.cursor


class InPauses:
    """What a SessionAgent and a SessionManager do with turns, as steps with pauses in between.

    Each takes what the method takes that has its name, refuses the same at once, and comes to the
    same.
    """

    def __init__(self, turns: AgentTurns, tools: ToolRegistry) -> None:
        self._turns = turns
        self._tools = tools

    def stream(self, session_id: str, message: str | Message, **given: Any) -> Turn:
        """Run a turn, yielding its events too."""
        return self._turns.stream(self._asked(session_id, message, **given))

    def run(
        self, session_id: str, message: str | Message, **given: Any
    ) -> Generator[Pause, None, TurnResult]:
        """Run a turn to its end."""
        return self._result(self._asked(session_id, message, **given))

    def submit(
        self, session_id: str, message: str | Message, **given: Any
    ) -> tuple[Submitting, Generator[Pause, None, TurnResult]]:
        """Run a turn to its end, which others finish if this process dies."""
        asked = self._asked(session_id, message, **given).kept()
        submitting = Submitting(asked.turn_id or "")
        return submitting, self._turns.submit_in_steps(asked, submitting.has_begun)

    def chat(
        self, session_id: str, message: str | Message, **given: Any
    ) -> Generator[Pause, None, str]:
        """Run a turn to its end, for the answer."""
        result = yield from self.run(session_id, message, **given)
        if result.waiting:
            raise SessionWaiting(session_id, result.turn_id, result.waiting)
        return result.text

    def start(
        self,
        session_id: str,
        message: str | Message,
        turn_id: str | None = None,
        user_id: str | None = None,
        **options: Any,
    ) -> Generator[Pause, None, Started]:
        """Begin a turn that goes on in the pool."""
        given = {"user_id": user_id, "turn_id": turn_id, **options}
        return self._turns.start(self._asked(session_id, message, **given))

    def resume_turn(
        self, session_id: str, *, user_id: str | None = None
    ) -> Generator[Pause, None, TurnResult | None]:
        """Finish an abandoned turn, if there is one."""
        return self._turns.resume(session_id, user_id, pauses=True)

    def answer(
        self,
        session_id: str,
        turn_id: str,
        answers: Mapping[str, Answer],
        **given: Any,
    ) -> Generator[Pause, None, TurnResult]:
        """Answer calls of a parked turn; with the last one, finish it."""
        asked = self._asked(session_id, "", **given)
        return self._turns.answer(
            session_id, turn_id, answers, asked.user_id, asked.options, pauses=True
        )

    def _asked(self, session_id: str, message: str | Message, **given: Any) -> Asked:
        return Asked.given(self._tools, session_id, message, pauses=True, **given)

    def _result(self, asked: Asked) -> Generator[Pause, None, TurnResult]:
        return whole((yield from only_pauses(self._turns.stream(asked))))
