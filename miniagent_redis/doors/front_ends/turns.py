"""Turns that chat pages ask for: begun, answered, gone back for; each is named, and done once.

A message is known by the id that its page gave it: posted again, it joins its turn. Whoever asked
may leave: the turn goes on in this process's pool, and others finish it if the process dies.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from attrs import field, frozen

from ...errors import InvalidInput, SessionBusy, SessionNotFound, SessionWaiting
from ...models import Message, WaitingCall
from ...session import SessionManager
from ..openai.checks import refuse
from ..openai.echo import ECHO, SYSTEM
from ..openai.ids import new_name
from ..openai.options import options_of, turn_options
from .answered import answers_to, results_among
from .asked import Asked
from .history import FRONT_END, page_id
from .wire import Json, question_id

_PAGE = 100
_BRANCHES = 5
"""How many branches, the newest, are looked at for what a request has gone back behind."""
_AGAIN = "again"
_ENDING = 5.0
"""Seconds for which a request waits for the end of a turn that it puts an end to."""


@frozen
class Begun:
    """A turn to be told, from where on, and what its reader knows of it."""

    session_id: str
    turn_id: str
    after: str | None = None
    """The place behind which it is told; None: from its beginning."""
    behind: frozenset[str] = frozenset()
    """Calls behind the wait for which it is told."""
    step: int = 0
    """How many replies were there when it was answered."""
    asked: tuple[WaitingCall, ...] = ()
    """For which it waited then."""
    still: tuple[WaitingCall, ...] = ()
    """For which it waits on."""
    staged: tuple[Message, ...] = ()
    """Its messages when it was answered."""
    is_joined: bool = False
    """Whether it was there before."""


@frozen
class PageTurns:
    """The turns of one user with one agent."""

    manager: SessionManager
    user_id: str
    model: str
    measure: Callable[[str], object] = field(default=len)
    """Raises what forbids a text that is too long."""

    def begin(self, asked: Asked, key: str = "") -> Begun:
        """Begin what is asked for; with the same ``key``, or message, again nothing begins.

        Raises RequestRefused, and what ``SessionManager.start`` and ``answer`` raise.
        """
        if asked.is_regenerated:
            return self._regenerate(asked, key)
        if asked.content is None:
            return self._answer_or_join(asked)
        session_id = self._session(asked)
        self.measure(asked.content if isinstance(asked.content, str) else "")
        message = self._message(asked, asked.content, asked.page_id)
        if asked.is_edited:
            said = self._find(session_id, lambda one: page_id(one) == asked.page_id)
            if said is not None and said.content != message.content:
                name = key or self._name_instead(session_id, said, repr(message.content))
                return self._instead(asked, said, message, name)
            if said is not None and said.turn_id is not None:
                return Begun(session_id, said.turn_id, is_joined=True)
        name = key
        if not name and asked.page_id:
            name = self._name("message", session_id, asked.page_id, repr(asked.content))
        return self._start(session_id, message, name or new_name(), asked)

    def answer(self, asked: Asked) -> Begun | None:
        """Answer calls for which the session's turn waits; None if it waits for none of these."""
        parts = self.manager.store.parts
        parking, cursor = parts.parking, parts.events.end(asked.session_id, self.user_id)
        parked = parking.parked(asked.session_id, user_id=self.user_id)
        if parked is None or asked.turn_id not in (None, parked.turn_id):
            return None
        if not (answers := answers_to(parked, asked)):
            return None
        agent, session_id, turn_id = self.manager.agent, parked.session_id, parked.turn_id
        kept = parked.staged[0].metadata.get(ECHO, {})
        echo = {**kept, **self._echo(asked)}
        given = turn_options(agent, echo)
        agent.turns.answer_soon(
            session_id, turn_id, answers, self.user_id, given, {ECHO: echo}, cursor
        )
        now = parking.parked(session_id, user_id=self.user_id)
        of_turn = now.calls if now is not None and now.turn_id == turn_id else ()
        left = {one.id for one in parked.calls} - answers.keys()  # else it has gone on since
        return Begun(
            session_id,
            turn_id,
            after=cursor,
            step=sum(one.role == "assistant" for one in parked.staged),
            asked=parked.calls,
            still=tuple(one for one in of_turn if one.id in left),
            staged=(*parked.staged, *results_among(parked, answers)),
        )

    def _answer_or_join(self, asked: Asked) -> Begun:
        if (begun := self.answer(asked)) is not None:
            return begun
        parked = self.manager.store.parts.parking.parked(asked.session_id, user_id=self.user_id)
        if parked is not None:
            raise SessionWaiting(parked.session_id, parked.turn_id, parked.calls)
        turn_id = asked.turn_id or ""
        approved = (one.removeprefix(question_id(turn_id, "")) for one in asked.approvals)
        calls = {*asked.answers, *approved}
        state = self.manager.turn(asked.session_id, turn_id, self.user_id) if turn_id else None
        known = {one.id for step in (state.steps if state else ()) for one in step.tool_calls}
        if not calls & known:
            refuse("No call waits for an answer: send a message of the user.", "messages")
        return Begun(asked.session_id, turn_id, behind=frozenset(calls & known), is_joined=True)

    # --- going back ---------------------------------------------------------------------------

    def _regenerate(self, asked: Asked, key: str) -> Begun:
        session_id = self._session(asked)
        name = key
        if not name and asked.turn_id is not None:
            name = self._name("instead", session_id, asked.turn_id, _AGAIN)
        if name and self._is_known(session_id, name):
            return Begun(session_id, name, is_joined=True)  # a repetition

        def is_meant(one: Message) -> bool:
            if asked.turn_id is not None:
                return one.turn_id == asked.turn_id
            return not asked.page_id or page_id(one) == asked.page_id

        said = self._find(session_id, is_meant) or self._gone(session_id, is_meant, name)
        if said is None:
            refuse("There is no such message to answer anew.", "messageId", "not_found")
        name = name or self._name_instead(session_id, said, _AGAIN)
        message = self._message(asked, said.content, page_id(said))
        return self._instead(asked, said, message, name)

    def _gone(
        self, session_id: str, is_meant: Callable[[Message], bool], name: str
    ) -> Message | None:
        """Return what the same request has gone back behind, and begins anew just now."""
        branches = self.manager.list_branches(session_id, user_id=self.user_id)
        for branch in (str(one["session_id"]) for one in branches[:_BRANCHES]):
            with suppress(SessionNotFound):
                said = self._find(branch, is_meant)
                again = name or (said and self._name_instead(session_id, said, _AGAIN))
                if again and branch == self._name("branch", session_id, again):
                    return said
        return None

    def _instead(self, asked: Asked, said: Message, message: Message, name: str) -> Begun:
        """Say something in the place of a message; what was there is kept as a branch."""
        session_id, place = asked.session_id, _place_of(said)

        def is_there() -> bool:
            return self._find(session_id, lambda one: place in (one.turn_id, one.id)) is not None

        if not self._is_known(session_id, name):
            self._end(session_id, place)
            if is_there():
                branch = self._name("branch", session_id, name)
                try:
                    self.manager.rewind(
                        session_id, place, before=True, new_id=branch, user_id=self.user_id
                    )
                except InvalidInput:
                    if is_there():
                        raise  # else another request has gone back behind it meanwhile
        return self._start(session_id, message, name, asked)

    def _name_instead(self, session_id: str, said: Message, what: str) -> str:
        return self._name("instead", session_id, _place_of(said), what)

    def _end(self, session_id: str, turn_id: str) -> None:
        """End a turn that is open still, with what there is of it."""
        look = self.manager.store.parts.open_turns.look
        found = look(session_id, turn_id, self.user_id)
        if not found.is_open:
            return
        self.manager.cancel(session_id, user_id=self.user_id, turn_id=turn_id)
        end = time.monotonic() + _ENDING
        while look(session_id, turn_id, self.user_id).is_open:
            if time.monotonic() > end:
                raise SessionBusy(session_id, max(0.0, found.lease_left))
            time.sleep(0.02)

    def _find(self, session_id: str, is_meant: Callable[[Message], bool]) -> Message | None:
        """Return the last message of the user that is meant, in the thread or an open turn."""
        staged = self.manager.store.parts.open_turns.look(session_id, None, self.user_id).staged
        before: int | None = None
        found = staged[:1]
        while True:
            for one in reversed(found):
                if one.role == "user" and is_meant(one):
                    return one
            if before is not None and before <= 0:
                return None
            page = self.manager.store.load_tail(
                session_id, _PAGE, before=before, user_id=self.user_id
            )
            found, before = page.messages, page.start if page.start > page.head else 0

    # --- beginning ----------------------------------------------------------------------------

    def _start(self, session_id: str, message: Message, name: str, asked: Asked) -> Begun:
        is_joined = self._is_known(session_id, name)
        while not is_joined and (over := self._how_it_ended(session_id, name)):
            said = self._find(session_id, partial(_is_same, message))
            if said is not None and said.turn_id is not None:  # it was answered anew since
                return Begun(session_id, said.turn_id, is_joined=True)
            name = self._name("behind", session_id, name, over)
            is_joined = self._is_known(session_id, name)
        echo = message.metadata[ECHO]
        options = options_of(self.manager.agent, echo)
        started = self.manager.start(session_id, message, name, self.user_id, **options)
        after = None if is_joined else started.cursor or None
        return Begun(session_id, name, after=after, is_joined=is_joined)

    def _how_it_ended(self, session_id: str, name: str) -> str:
        """Return what tells a turn of which nothing is stored from a later one; empty for no turn.

        It failed, or was gone back behind: its name is used up.
        """
        found = self.manager.store.parts.open_turns.look(session_id, name, self.user_id)
        return found.ended or (str(found.committed) if found.committed else "")

    def _is_known(self, session_id: str, name: str) -> bool:
        return self.manager.turn(session_id, name, self.user_id).state != "unknown"

    def _session(self, asked: Asked) -> str:
        return self.manager.create_or_resume_session(self.user_id, asked.session_id)

    def _message(self, asked: Asked, content: str | list[Json], known_as: str) -> Message:
        now = self.manager.store.clock.time()
        echo = {"model": self.model, "created_at": now, **self._echo(asked)}
        return Message("user", content, metadata={ECHO: echo, FRONT_END: {"id": known_as}})

    def _echo(self, asked: Asked) -> Json:
        """Return what is kept of a request, so that whoever goes on with its turn has it."""
        echo: Json = {"tools": list(asked.tools)} if asked.tools else {}
        return {**echo, SYSTEM: [asked.context]} if asked.context else echo

    def _name(self, *what: str) -> str:
        whole = "\0".join((self.user_id, *what)).encode("utf-8", "surrogatepass")
        return hashlib.sha256(whole).hexdigest()[:32]


def _place_of(said: Message) -> str:
    return said.turn_id or said.id


def _is_same(message: Message, other: Message) -> bool:
    return (page_id(message), message.content) == (page_id(other), other.content)
