"""What a caller asks for: a message to answer, in a turn that may have a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from ..agent import USUAL, Instructions, OnClose, TurnOptions
from ..errors import InvalidInput
from ..models import Message, OpenTurn, new_id
from ..tools import ToolRegistry, Tools


class AnotherMessage(InvalidInput):
    """The turn of this id had another message."""


@frozen
class Asked:
    """A message to answer. Without a ``turn_id`` the turn gets one that nobody asks for again."""

    session_id: str
    message: str | Message
    user_id: str | None = None
    turn_id: str | None = None
    options: TurnOptions = USUAL
    is_new: bool = False
    """Whether the id was made just now, so that it cannot be a repetition."""

    is_kept: bool = False
    """Whether other instances are to finish the turn if this process dies."""

    pauses: bool = False
    """Whether who works on it yields a Pause where it would block for long: see ``InPauses``."""

    @classmethod
    def given(
        cls,
        usual: ToolRegistry,
        session_id: str,
        message: str | Message,
        user_id: str | None = None,
        turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
        on_close: OnClose = "keep",
        *,
        pauses: bool = False,
    ) -> Asked:
        """Return what a caller asks of an agent with these usual tools; raises InvalidInput."""
        options = TurnOptions.given(usual, instructions, tools, params, output, on_close)
        return cls(session_id, message, user_id, turn_id, options, pauses=pauses)

    def kept(self) -> Asked:
        """Return the same, to be finished in any case; with an id, a new one if it has none."""
        if self.turn_id is not None:
            return evolve(self, is_kept=True)
        return evolve(self, turn_id=new_id(), is_new=True, is_kept=True)

    def to_be_finished(self) -> Asked:
        """Return the same, whose work goes on whoever reads of it or leaves."""
        return evolve(self, options=evolve(self.options, on_close="finish"))

    def is_for(self, turn: OpenTurn) -> bool:
        """Whether an abandoned turn that was taken over is the one that is asked for."""
        return turn.turn_id == self.turn_id and self._has_message(turn.staged)

    def must_be(self, messages: Sequence[Message]) -> None:
        """Raise InvalidInput if the messages of the turn begin with another one."""
        if not self._has_message(messages):
            raise AnotherMessage(
                f"turn {self.turn_id} of session {self.session_id!r} had another message",
                cause="a turn_id names one message: a repetition sends the same",
                hint="use a new turn_id for a new message",
            )

    def _has_message(self, messages: Sequence[Message]) -> bool:
        message = self.message
        content = message.content if isinstance(message, Message) else message
        return not messages or messages[0].content == content
