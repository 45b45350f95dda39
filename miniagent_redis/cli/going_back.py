"""Going back in a conversation by so many messages of the user's."""

from __future__ import annotations

from ..errors import MiniAgentError
from ..models import Message
from ..session import SessionManager
from .text import number


class GoingBack:
    """One session of a user, to go back in."""

    def __init__(self, manager: SessionManager, user: str, session_id: str) -> None:
        self._manager = manager
        self._user = user
        self._session_id = session_id

    def fork(self, count: int) -> str:
        """Make a copy without the last ``count`` messages of the user's; return its id."""
        at = self._asked(count)[0] if count else None
        return self._manager.fork_session(self._session_id, at, user_id=self._user)

    def rewind(self, count: int) -> tuple[Message, str]:
        """Go back to before them; return the first of them, and which session has it all."""
        at, message = self._asked(count)
        kept = self._manager.rewind(self._session_id, at, user_id=self._user)
        assert kept is not None  # at least that message was behind it
        return message, kept

    def _asked(self, count: int) -> tuple[int, Message]:
        """Return the user's message so many back, and its position; raise if there is none."""
        thread = self._manager.store.load_thread(self._session_id, user_id=self._user)
        asked = [
            (index, message)
            for index, message in zip(thread.indexes, thread.messages, strict=True)
            if message.role == "user"
        ]
        if not 0 < count <= len(asked):
            raise MiniAgentError(
                f"you cannot go back by {number(count, 'message')}",
                cause=f"this session has {number(len(asked), 'message')} of yours",
            )
        at, message = asked[-count]
        return at, Message("user", message.content)
