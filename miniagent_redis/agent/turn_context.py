"""What is given to who works on a turn: whose it is, whether it may go on, whom to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from ..errors import TurnSuperseded
from ..llm import ModelRequest
from ..models import Event, Inquiry, Message, ToolCall, ToolContext, Usage, WaitingCall
from ..models.event import Told, time_of
from ..runtime.cancellation import raise_if_cancelled, ring_when_cancelled
from ..runtime.clock import Clock, SystemClock
from ..runtime.interrupts import Bell

Decision = Literal["approved", "started"]
"""Of a call that was approved: whether another holder of the turn may have started it."""


class TurnCancelled(Exception):
    """The turn was cancelled while it waited for a reply."""


class TurnContext:
    """One turn of an agent. As it stands here nothing is kept, nobody listens and nobody stops it.

    A turn of a session is a subclass: session/stored_turn.py.
    """

    def __init__(
        self,
        session_id: str,
        turn_id: str,
        user_id: str | None = None,
        *,
        clock: Clock | None = None,
        pauses: bool = False,
    ) -> None:
        self.session_id = session_id
        self.turn_id = turn_id
        self.user_id = user_id
        self.clock: Clock = clock or SystemClock()
        self.pauses = pauses
        """Whether who works on it yields a Pause where it would block for long."""
        self.has_started_tools: bool = False
        """Whether a tool was started by who works on it now."""

    @property
    def is_stopped(self) -> bool:
        """Whether the turn is no longer the session's: nothing of it is wanted any more."""
        return False

    @property
    def is_cancelled(self) -> bool:
        """Whether the turn is to end with what there is of its answer."""
        return False

    def check(self) -> None:
        """Raise TurnSuperseded once stopped, CancelledError once the asyncio task is cancelled."""
        raise_if_cancelled()
        if self.is_stopped:
            raise TurnSuperseded(self.session_id, self.turn_id)

    def check_wait(self) -> float | None:
        """Do what ``check`` does, while a model is waited for; raise TurnCancelled once cancelled.

        Returns in how many seconds there is something to do; None if that is not known.
        """
        self.check()
        if self.is_cancelled:
            raise TurnCancelled
        return None

    def session_data(self) -> dict[str, Any]:
        """Return the session's custom data, to keep; may block. Here there is none."""
        return {}

    def decision(self, call: ToolCall, steps: Sequence[Message]) -> Decision | None:
        """Return what was decided of an open call of the last reply, while the turn was parked."""
        return None

    def park(self, calls: Sequence[WaitingCall]) -> str | None:
        """Leave the turn until the calls are answered; return the id of the event for watchers.

        None if the turn was cancelled before, and goes on, to its end.
        """
        return ""

    def inquiries(self, call_id: str) -> tuple[Inquiry, ...]:
        """Return what a call of the last reply has asked the user, and was told."""
        return ()

    def tool_context(self, call_id: str = "") -> ToolContext:
        """Return what a function is told that wants to know for whom it runs; may block."""
        data, asked = self.session_data(), self.inquiries(call_id) if call_id else ()
        return ToolContext(self.session_id, self.user_id, self.turn_id, call_id, data, asked)

    def ring(self, bell: Bell) -> None:
        """Put None to the bell whenever ``check`` or ``is_cancelled`` may have changed.

        The bell is held weakly.
        """
        ring_when_cancelled(bell)

    def stage(self, messages: Sequence[Message]) -> Sequence[str]:
        """Keep messages, for whoever resumes the turn; what this raises ends the turn.

        Returns the ids of the events by which watchers are told of them, one for each message, or
        nothing if there are none.
        """
        return ()

    def reserved(
        self, request: ModelRequest, used: Callable[[], Usage]
    ) -> AbstractContextManager[None]:
        """Reserve what a request to the model may take; count what it took at the end.

        Raises BudgetExceeded. Here nothing is counted.
        """
        return nullcontext()

    def hear(self, event: Event) -> None:
        """Take note of an event, before whoever reads the turn's events gets it."""

    def tell(self, told: Told, event_id: str = "") -> Event:
        """Return the event of what happened; ``event_id`` is that of watchers, where they have it.

        Its time is that of its id: watchers get the very same event.
        """
        kind, data = told
        at = time_of(event_id) if event_id else self.clock.time()
        event = Event(kind, self.session_id, self.turn_id, data, at, event_id)
        self.hear(event)
        return event
