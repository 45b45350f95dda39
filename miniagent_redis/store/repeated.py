"""What is told to who begins a turn again that runs already, or is stored.

They are kinds of the errors that all callers know.
"""

from __future__ import annotations

from ..errors import InvalidInput, SessionBusy


class TurnStored(InvalidInput):
    """The turn was committed before: as ``version`` of the session, which may be a later one.

    It is later if the server does not remember the turn any more, and it was found in the thread.
    """

    def __init__(self, session_id: str, turn_id: str, version: int) -> None:
        hint = "use a new turn_id for a new turn"
        super().__init__(f"turn {turn_id} was committed already", hint=hint)
        self.session_id = session_id
        self.turn_id = turn_id
        self.version = version


class TurnRuns(SessionBusy):
    """The turn is open, and another call or instance works on it."""

    def __init__(self, session_id: str, turn_id: str, lease_remaining: float) -> None:
        super().__init__(session_id, lease_remaining)
        self.turn_id = turn_id
