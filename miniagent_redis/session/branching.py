"""Going back in a conversation and saying something else: edit and resend, and regenerate.

Each is a rewind, which keeps what was there as a branch, and a turn behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from hashlib import sha256
from typing import Any

from attrs import evolve

from ..agent import Instructions
from ..errors import InvalidInput, SessionBusy, SessionNotFound
from ..models import Message, TurnResult, new_id
from ..runtime.pausing import Pause, at_once
from ..store.checks import check_message
from ..store.keys import check_id, check_session_id
from ..store.manager import RedisSessionManager
from ..store.places import At
from ..tools import ToolRegistry, Tools
from .asked import Asked
from .results import only_pauses, whole
from .turns import AgentTurns

_PAGE = 100


class Branching:
    """Goes back in sessions of one agent. Safe for threads."""

    def __init__(self, store: RedisSessionManager, turns: AgentTurns, tools: ToolRegistry) -> None:
        self._store = store
        self._turns = turns
        self._tools = tools

    def rewind(
        self,
        session_id: str,
        to: At,
        *,
        before: bool = False,
        new_id: str | None = None,
        user_id: str | None = None,
    ) -> str | None:
        """Go back to a place in the conversation; return the id of the branch that keeps it whole.

        ``to`` is the id of a turn or of a message, which is the last that stays, or with ``before``
        the first that goes; or how many messages stay. None if nothing is behind that. Errors, and
        how to repeat it: see ``RedisSessionManager.rewind``.
        """
        kept = self._store.rewind(session_id, to, before=before, new_id=new_id, user_id=user_id)
        self._turns.kept.forget(session_id)
        return kept

    def edit(
        self,
        session_id: str,
        turn_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        new_turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> TurnResult:
        """Say something else in the place of an earlier message; return what comes of it.

        The conversation goes back to before the turn, or the message, with the id ``turn_id``
        (``rewind``), then the new message is sent as by ``run``, whose options and errors it has.
        What was there is kept as a branch, whose id is the result's ``branch``; also if the new
        turn fails: then the conversation ends where it was gone back to, and a note of the error
        names the branch. Blocks. An abandoned turn is finished first.

        With a ``new_turn_id`` of your own the call may be repeated: it goes back once, and the
        turn is done once, as ``turn_id`` of ``run`` says. Raises InvalidInput too if there is no
        such turn, SessionBusy while another one runs, SessionWaiting while one waits, and
        RateLimited for one session too many (``max_sessions_per_user``).
        """
        given = (user_id, new_turn_id, instructions, tools, params, output)
        asked = Asked.given(self._tools, session_id, message, *given)
        return at_once(self._edit(asked, turn_id))

    def regenerate(
        self,
        session_id: str,
        turn_id: str | None = None,
        *,
        user_id: str | None = None,
        new_turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> TurnResult:
        """Have the user's message of a turn, by default of the last one, answered anew.

        As ``edit`` with the message that the turn had: what was there is kept as a branch.
        """
        given = (user_id, new_turn_id, instructions, tools, params, output)
        asked = Asked.given(self._tools, session_id, "", *given)
        return at_once(self._regenerate(asked, turn_id))

    # --- for who cannot block -------------------------------------------------------------------

    def edit_in_steps(
        self,
        session_id: str,
        turn_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        new_turn_id: str | None = None,
        **given: Any,
    ) -> Generator[Pause, None, TurnResult]:
        """Do what ``edit`` does, with pauses where that would block for long."""
        asked = self._asked(session_id, message, user_id, new_turn_id, **given)
        return self._edit(asked, turn_id)

    def regenerate_in_steps(
        self,
        session_id: str,
        turn_id: str | None = None,
        *,
        user_id: str | None = None,
        new_turn_id: str | None = None,
        **given: Any,
    ) -> Generator[Pause, None, TurnResult]:
        """Do what ``regenerate`` does, with pauses where that would block for long."""
        asked = self._asked(session_id, "", user_id, new_turn_id, **given)
        return self._regenerate(asked, turn_id)

    def _asked(self, session_id: str, message: str | Message, *whose: Any, **given: Any) -> Asked:
        return Asked.given(self._tools, session_id, message, *whose, pauses=True, **given)

    # --- the work -------------------------------------------------------------------------------

    def _edit(self, asked: Asked, turn_id: str) -> Generator[Pause, None, TurnResult]:
        message = asked.message
        check_message(message if isinstance(message, Message) else Message("user", message))
        branch = self._branch_id(asked)
        yield from self._go_back(asked, lambda: turn_id, branch)
        return (yield from self._run(asked, branch))

    def _regenerate(self, asked: Asked, turn_id: str | None) -> Generator[Pause, None, TurnResult]:
        branch = self._branch_id(asked)
        found: list[Message] = []

        def place() -> str:
            found[:] = [self._message_to_answer(asked, turn_id, branch)]
            return found[0].turn_id or found[0].id

        yield from self._go_back(asked, place, branch)
        again = evolve(found[0], id=new_id(), turn_id=None, created_at=0.0)
        return (yield from self._run(evolve(asked, message=again), branch))

    def _message_to_answer(self, asked: Asked, turn_id: str | None, branch: str) -> Message:
        message: Message | None = None
        if asked.turn_id is not None:  # perhaps a repetition: then it is in the branch
            message = self._message(branch, turn_id, asked.user_id)
        message = message or self._message(asked.session_id, turn_id, asked.user_id)
        if message is not None:
            return message
        self._store.session_state(asked.session_id, user_id=asked.user_id)  # there is one
        raise InvalidInput(
            f"session {asked.session_id!r:.100} has no message that could be answered anew",
            cause="there is no message of the user's in that turn, or none at all",
        )

    def _branch_id(self, asked: Asked) -> str:
        """Return the id of the branch to make: of a call that may be repeated always the same."""
        check_session_id(asked.session_id)
        if asked.turn_id is None:
            return new_id()
        what = repr((asked.session_id, check_id(asked.turn_id, "a turn id")))
        return sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _go_back(
        self, asked: Asked, place: Callable[[], str], branch: str
    ) -> Generator[Pause, None, None]:
        """Go back to before a place; an abandoned turn is finished first."""
        try:
            self._rewind(asked, place(), branch)
        except SessionBusy as exc:
            if exc.lease_remaining > 0:
                raise
            yield from self._turns.resume(asked.session_id, asked.user_id, asked.pauses)
            self._rewind(asked, place(), branch)

    def _rewind(self, asked: Asked, place: str, branch: str) -> None:
        self.rewind(asked.session_id, place, before=True, new_id=branch, user_id=asked.user_id)

    def _run(self, asked: Asked, branch: str) -> Generator[Pause, None, TurnResult]:
        try:
            result = whole((yield from only_pauses(self._turns.stream(asked))))
        except Exception as exc:
            exc.add_note(f"What was said before is kept as session {branch}.")
            raise
        return evolve(result, branch=branch)

    def _message(self, session_id: str, turn_id: str | None, user_id: str | None) -> Message | None:
        """Return the user's message of a turn, or the last one; None if there is none."""
        before: int | None = None
        found: Message | None = None
        while before is None or before > 0:
            try:
                page = self._store.load_tail(session_id, _PAGE, before=before, user_id=user_id)
            except SessionNotFound:
                return None
            for message in reversed(page.messages):
                is_meant = turn_id is None or turn_id in (message.turn_id, message.id)
                if found is not None and not is_meant:
                    return found
                if is_meant and message.role == "user":
                    found = message  # the first one of the turn
                    if turn_id is None or message.id == turn_id:
                        return found
            if page.start <= page.head:
                break
            before = page.start
        return found
