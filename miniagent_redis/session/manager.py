"""SessionManager: the simple face of it all. Create or resume a session, chat, look back, end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from attrs import evolve

from ..errors import SessionExists, SessionNotFound, SessionWaiting
from ..models import Event, Forgotten, Message, Page, TurnResult, TurnState, UsageTotals
from ..records.json import Json
from ..runtime.checks import of_kind
from ..runtime.durations import Duration
from ..store.checks import check_object
from ..store.manager import RedisSessionManager
from ..store.parking import Answer
from .agent import SessionAgent
from .asked import Asked
from .turns import Started


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
        (``max_sessions_per_user``).
        """
        if data is not None:
            check_object(data, "data")
        if session_id is not None:
            try:
                self.store.touch_session(session_id, user_id=user_id)
                return session_id
            except SessionNotFound:
                pass
        new_id = session_id or str(uuid.uuid4())
        try:
            self.store.create_session(
                new_id, data, ttl, user_id=user_id, agent_name=self.agent.config.name
            )
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
    ) -> str:
        """Send a message and return the answer; both are stored by then. Blocks.

        With a ``turn_id`` of your own it may be repeated: see ``stream``. Errors as there; and
        SessionWaiting if the turn was parked, as then there is no answer yet: see ``answer``.
        """
        result = self.run(session_id, message, user_id=user_id, turn_id=turn_id)
        if result.waiting:
            raise SessionWaiting(session_id, result.turn_id, result.waiting)
        return result.text

    def run(
        self,
        session_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
    ) -> TurnResult:
        """Like ``chat``, returning the answer with its steps, usage and version."""
        return self.agent.run(session_id, message, user_id=user_id, turn_id=turn_id)

    def stream(
        self,
        session_id: str,
        message: str | Message,
        *,
        user_id: str | None = None,
        turn_id: str | None = None,
    ) -> Iterator[Event]:
        """Send a message and yield what happens, text piece by piece, AGENT_RESPONSE last.

        The turn begins at the first ``next``. Stopping early drops it: the thread stays as it
        was. A reader that asks for nothing for ``AgentConfig.reader_timeout`` seconds may lose the
        turn to whoever wants the session.

        With a ``turn_id`` of your own (``[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}``) the call may be
        repeated, anywhere and at any time: no message is stored and no tool run twice. A repetition
        joins the turn while it runs, and yields its stored events; later it yields what is stored
        of it, also of one that was interrupted, without an error. A turn of which nothing was
        stored is begun anew. Raises SessionNotFound, SessionBusy, SessionTooLarge, RateLimited,
        TurnSuperseded, TurnNotSaved, TurnUncertain, ModelError, InvalidInput (also for a
        ``turn_id`` of another message) or StoreUnavailable.
        """
        return self.agent.stream(session_id, message, user_id=user_id, turn_id=turn_id)

    def start(
        self,
        session_id: str,
        message: str | Message,
        turn_id: str | None = None,
        user_id: str | None = None,
    ) -> Started:
        """Begin a turn that goes on in this process's pool; return its ``turn_id`` and ``cursor``.

        Then the message is stored and the turn is done, whoever reads of it or leaves: with
        ``watch(session_id, after=cursor)``, ``watch(session_id, turn_id=turn_id)`` or ``turn``.
        A repetition with the same ``turn_id`` starts nothing and returns the same. Blocks
        while another turn runs, up to ``busy_timeout``, or finishes one that was abandoned. Raises
        SessionNotFound, SessionBusy, SessionTooLarge, RateLimited, InvalidInput, TurnUncertain or
        StoreUnavailable; what goes wrong later is told as TURN_FAILED, and logged.
        """
        return self.agent.turns.start(Asked(session_id, message, user_id, turn_id))

    def turn(self, session_id: str, turn_id: str, user_id: str | None = None) -> TurnState:
        """Tell how a turn stands, whoever works on it: see ``TurnState``.

        One round trip, and a look into the thread for one that is over. Raises SessionNotFound,
        InvalidInput or StoreUnavailable.
        """
        return self.agent.turns.named.state(session_id, turn_id, user_id)

    def resume_turn(self, session_id: str, *, user_id: str | None = None) -> TurnResult | None:
        """Finish a turn whose process died or lost Redis; None if the session has none. Blocks.

        ``list_sessions`` shows such turns as ``open_turn``, and the next ``chat`` finishes them by
        itself. Errors as in ``stream``.
        """
        return self.agent.resume_turn(session_id, user_id=user_id)

    def answer(
        self,
        session_id: str,
        turn_id: str,
        answers: Mapping[str, Answer],
        *,
        user_id: str | None = None,
    ) -> TurnResult:
        """Answer calls for which a parked turn waits; with the last one, finish the turn here.

        ``answers`` has, by the id of the call, its result (text, or a ToolResult), ``Approve()`` or
        ``Deny(why)``. From any process; blocks. See ``SessionAgent.answer``.
        """
        return self.agent.answer(session_id, turn_id, answers, user_id=user_id)

    def list_waiting(
        self, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """List the turns that wait for somebody, those that were parked last first; as dicts.

        Each has ``session_id user_id turn_id since message calls``; a call has ``id name arguments
        waits_for``. Pass the page's ``cursor`` for the next one.
        """
        return self.store.parts.parking.list_waiting(user_id, limit, cursor)

    def cancel(self, session_id: str, *, user_id: str | None = None) -> bool:
        """End the session's running turn, on whichever instance; return whether there is one.

        The turn ends soon, with what there is of the answer, stored and returned as
        ``interrupted``. Does not wait. Raises SessionNotFound or StoreUnavailable.
        """
        return self.agent.cancel(session_id, user_id=user_id)

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
        ``limit``, each with ``"pending": True``.
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

    def list_sessions(
        self, user_id: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """List sessions, the most recently used first, as dicts; a page at a time.

        Each has ``session_id user_id agent_name created_at last_activity expires_at
        message_count turns open_turn``; ``expires_at`` is None for one that never does. Pass the
        page's ``cursor`` for the next one.
        """
        return self.store.list_sessions(user_id, limit, cursor)

    def usage(
        self,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        day: date | str | None = None,
    ) -> UsageTotals:
        """Return what turns took: of a session, a user, a day (UTC), or all of the namespace.

        ``day`` is a date or ``"2026-01-31"``, or a datetime: one with a time zone names the UTC day
        of that instant. A session's totals are exact and end with it; the others lag behind other
        processes by about a second. Raises SessionNotFound, InvalidInput
        or StoreUnavailable.
        """
        return self.store.usage(session_id=session_id, user_id=user_id, day=day)

    def clear_history(self, session_id: str, *, user_id: str | None = None) -> bool:
        """Remove the session's messages and keep the session; return whether there were any."""
        removed = self.store.clear_thread(session_id, user_id=user_id)
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
        """Remove the session with all that belongs to it; return whether it was there."""
        self.agent.forget(session_id)
        return self.store.delete_session(session_id, user_id=user_id)
