"""SessionManager: the simple face of it all. Create or resume a session, chat, look back, end."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from attrs import evolve

from ..agent import Instructions
from ..errors import SessionExists, SessionNotFound, SessionWaiting
from ..models import Event, Forgotten, Message
from ..records.json import Json
from ..runtime.checks import of_kind
from ..runtime.delegating import delegates
from ..runtime.durations import Duration
from ..store.branches import Branches
from ..store.checks import check_object
from ..store.listing import Listing
from ..store.manager import RedisSessionManager
from ..store.one_session import one_session
from ..store.parking import Parking
from ..store.search import Search
from ..store.titles import Titles
from ..store.usage import UsageCounts
from ..tools import Tools
from .agent import SessionAgent
from .branching import Branching
from .turn_calls import TurnCalls

N = TypeVar("N")


def _turn_calls(manager: SessionManager) -> TurnCalls:
    return manager.agent.turn_calls


def _branching(manager: SessionManager) -> Branching:
    return manager.agent.branching


def _part(kind: type[N]) -> Callable[[SessionManager], N]:
    return lambda manager: manager.store.parts.part(kind)


class SessionManager:
    """Sessions of one agent, by id. Safe for threads.

    Every method takes an optional ``user_id``: with it, a session of somebody else is not found.
    """

    def __init__(self, agent: SessionAgent) -> None:
        hint = "write SessionManager(SessionAgent(…))"
        self.agent: SessionAgent = of_kind(agent, SessionAgent, "agent", hint)
        self.store: RedisSessionManager = agent.store

    def tenant(self, namespace: str) -> SessionManager:
        """Return the same manager for another namespace: see ``SessionAgent.tenant``."""
        return SessionManager(self.agent.tenant(namespace))

    def create_or_resume_session(
        self,
        user_id: str | None = None,
        session_id: str | None = None,
        *,
        data: Json | None = None,
        ttl: Duration | None = None,
    ) -> str:
        """Return the id of a session to chat in: the one named, or a new one.

        A session that is there is renewed and keeps its data; ``data`` and ``ttl`` (seconds, by
        default the configured one) are for a new one. Raises SessionNotFound if the id is
        somebody else's, InvalidInput for an unusable id, RateLimited for one session too many
        (``max_sessions_per_user``, ``max_new_sessions_per_minute``).
        """
        if data is not None:
            check_object(data, "data")
        if session_id is not None:
            try:
                self.store.touch_session(session_id, user_id=user_id)
                return session_id
            except SessionNotFound:
                pass
        new_id, name = session_id or str(uuid.uuid4()), self.agent.config.name
        try:
            self.store.create_session(new_id, data, ttl, user_id=user_id, agent_name=name)
        except SessionExists:
            # Someone else's, or created by another instance just now.
            self.store.touch_session(new_id, user_id=user_id)
        return new_id

    def chat(
        self,
        session_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
        instructions: Instructions | None = None,
        tools: Tools | None = None,
        params: Mapping[str, Any] | None = None,
        output: Any = None,
    ) -> str:
        """Send a message and return the answer; both are stored by then. Blocks.

        Options and errors as in ``stream``; the data of an ``output`` is in the result of ``run``.
        SessionWaiting if the turn was parked, as then there is no answer yet: see ``answer``.
        """
        result = self.run(
            session_id,
            message,
            user_id=user_id,
            turn_id=turn_id,
            instructions=instructions,
            tools=tools,
            params=params,
            output=output,
        )
        if result.waiting:
            raise SessionWaiting(session_id, result.turn_id, result.waiting)
        return result.text

    @delegates(TurnCalls.run, _turn_calls)
    def run(self) -> None: ...
    @delegates(TurnCalls.stream, _turn_calls)
    def stream(self) -> None: ...
    @delegates(TurnCalls.start, _turn_calls)
    def start(self) -> None: ...
    @delegates(TurnCalls.turn, _turn_calls)
    def turn(self) -> None: ...
    @delegates(TurnCalls.resume_turn, _turn_calls)
    def resume_turn(self) -> None: ...
    @delegates(TurnCalls.answer, _turn_calls)
    def answer(self) -> None: ...
    @delegates(Parking.list_waiting, _part(Parking))
    def list_waiting(self) -> None: ...
    @delegates(TurnCalls.cancel, _turn_calls)
    def cancel(self) -> None: ...

    def watch(
        self,
        session_id: str,
        after: str | None = None,
        timeout: Duration | None = None,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
    ) -> Iterator[Event]:
        """Yield what happens on the session, on whichever instance; from the first ``next`` on.

        ``after`` is the ``id`` of the last event seen, "" for the oldest that is kept. With a
        ``turn_id`` it yields the events of that turn, from its first one on unless ``after`` is
        given, and ends when that turn is over. Blocks; ends after ``timeout`` seconds without an
        event, or when the session does. Outages are ridden out; what could not be had is told as
        a GAP. Raises SessionNotFound, InvalidInput or StoreUnavailable.
        """
        return self.store.watch(session_id, after, timeout, user_id=user_id, turn_id=turn_id)

    def get_history(
        self,
        session_id: str,
        limit: int | None = None,
        before: int | None = None,
        *,
        user_id: str | None = None,
        pending: bool = False,
    ) -> list[dict[str, Any]]:
        """Return messages as dicts, oldest first: all, or the last ``limit`` before ``before``.

        Each has ``index`` (its position), ``role``, ``content``, ``id``, ``turn_id``,
        ``created_at`` (ISO 8601, UTC) and, where set, ``tool_calls``, ``tool_call_id``, ``name``,
        ``metadata``. For the page before, pass the first one's index as ``before``. With
        ``pending`` the question and the steps of a turn that is not over follow, beyond the
        ``limit``, each with ``"pending": True``. Blocks for a round trip for each 1,000 messages.
        Raises SessionNotFound, InvalidInput or StoreUnavailable.
        """
        open_turn = self.store.parts.open_turns.look(session_id, None, user_id) if pending else None
        if limit is None and before is None:
            found = self.store.load_thread(session_id, user_id=user_id)
        else:
            most = max(before or 1, 1) if limit is None else limit
            found = self.store.load_tail(session_id, most, before=before, user_id=user_id)
        history = [
            {"index": index, **message.to_dict()}
            for index, message in zip(found.indexes, found.messages, strict=True)
        ]
        if open_turn is not None:  # unless it was stored since
            here = {message.id for message in found.messages}
            history += [
                {"index": found.count + number, **message.to_dict(), "pending": True}
                for number, message in enumerate(open_turn.staged)
                if message.id not in here
            ]
        return history

    @delegates(Listing.list_sessions, _part(Listing))
    def list_sessions(self) -> None: ...
    @delegates(Search.search, _part(Search))
    def search(self) -> None: ...
    @delegates(Titles.set_title, _part(Titles))
    def set_title(self) -> None: ...
    @delegates(Branches.fork_session, _part(Branches))
    def fork_session(self) -> None: ...
    @delegates(Branches.list_branches, _part(Branches))
    def list_branches(self) -> None: ...
    @delegates(Branching.rewind, _branching)
    def rewind(self) -> None: ...
    @delegates(Branching.edit, _branching)
    def edit(self) -> None: ...
    @delegates(Branching.regenerate, _branching)
    def regenerate(self) -> None: ...
    @delegates(UsageCounts.usage, _part(UsageCounts))
    def usage(self) -> None: ...

    def clear_history(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Remove the messages, and the title made of them; return whether there were any.

        A turn that is open is dropped. The messages go in one step, the title behind them. Blocks
        for a few round trips. Raises SessionNotFound, TurnUncertain or StoreUnavailable.
        """
        with one_session(self.store.parts.core, session_id):
            removed = self.store.clear_thread(session_id, user_id=user_id)
            self.store.parts.titles.take_back(session_id, user_id)
        self.agent.forget(session_id)
        return removed > 0

    def forget_user(self, user_id: str) -> Forgotten:
        """Remove all that is stored of a user in this namespace; return what that was.

        What ``RedisSessionManager.forget_user`` removes, which says what is guaranteed while others
        go on: sessions, totals, counts in the windows of ``AgentConfig.rate_limits``. Then the
        user's turns in this machine's ``spool_dir``, those set aside too; not those of a file that
        cannot be read, or was written under another address (the doctor names them), nor those in
        folders of other machines: call it there. And what this process keeps in memory of the
        sessions. Safe to repeat. Blocks; errors as there.
        """
        agent = self.agent
        found = self.store.parts.forgetting.forget(user_id, agent.config.rate_limits, agent.forget)
        return evolve(found, spooled=agent.spool.forget(user_id)) if agent.spool else found

    def renew_session_id(
        self,
        session_id: str,
        *,
        user_id: str | None = None,
        new_id: str | None = None,
        new_user_id: str | None = None,
    ) -> str:
        """Move the session to a new random id, after a login, and return that. The old one is over.

        ``new_user_id`` is who owns it from then on, if that changes. Turns of it that wait in the
        spool here are stored before. Blocks for some ten round trips. What is atomic, how to
        repeat it, and the errors: see ``RedisSessionManager.renew_session_id``.
        """
        if self.agent.spool is not None:
            self.agent.spool.replay(session_id)
        renewed = self.store.renew_session_id(
            session_id, user_id=user_id, new_id=new_id, new_user_id=new_user_id
        )
        self.agent.forget(session_id)
        return renewed

    def end_session(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Remove the session with all that belongs to it; return whether it was there.

        Errors as of ``RedisSessionManager.delete_session``.
        """
        self.agent.forget(session_id)
        return self.store.delete_session(session_id, user_id=user_id)
