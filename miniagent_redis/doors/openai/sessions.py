"""What OpenAI has no routes for: a user's sessions, what they took, and turns that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

from ...errors import SessionNotFound
from ...models import Approve, Deny, Page, ToolResult, UsageTotals
from ...session import SessionAgent, SessionManager
from ...store.parking import Answer, Parked
from ..told import leg_behind
from .checks import Json, about, flag_in, object_of, refuse, text_in
from .faults import RequestRefused, not_found
from .ids import ResponseId, conversation_id
from .options import agent_and_options

MOST_DAYS = 366


@frozen
class Sessions:
    """The sessions of one user. All raise StoreUnavailable, and RequestRefused with 404."""

    manager: SessionManager
    user_id: str

    def page(self, limit: int, cursor: str | None) -> Json:
        """Return a page of sessions, the most recently used first."""
        found = self.manager.list_sessions(self.user_id, limit, cursor)
        return _page(found, [_listed(row) for row in found])

    def get(self, session_id: str) -> Json:
        """Return the object of a session."""
        try:
            state = self.manager.store.session_state(session_id, user_id=self.user_id)
        except SessionNotFound:
            raise not_found("Session", session_id) from None
        return _told(
            session_id,
            title=state.title,
            agent=state.agent_name,
            created_at=int(state.created_at),
            last_activity=int(state.last_activity),
            expires_at=None if state.expires_at is None else int(state.expires_at),
            message_count=state.message_count,
            turns=state.turns,
            open_turn=state.open_turn,
            forked_from=state.forked_from,
        )

    def update(self, session_id: str, body: object) -> Json:
        """Give a session the title that is sent, or take it away with null."""
        data = object_of(body, "body")
        if "title" not in data:
            refuse("Missing required parameter: 'title'.", "title", "missing_required_parameter")
        title = text_in(data, "title") if data["title"] is not None else None
        with about("title"):
            was_there = self.manager.set_title(session_id, title, user_id=self.user_id)
        if not was_there:
            raise not_found("Session", session_id)
        return self.get(session_id)

    def delete(self, session_id: str) -> Json:
        """End a session, with all that belongs to it."""
        if not self.manager.end_session(session_id, user_id=self.user_id):
            raise not_found("Session", session_id)
        return {"id": session_id, "object": "session.deleted", "deleted": True}

    # --- usage --------------------------------------------------------------------------------

    def usage(self, session_id: str | None = None) -> Json:
        """Return what a session's turns took, or all of the user."""
        if session_id is None:
            return usage_object(self.manager.usage(user_id=self.user_id))
        try:
            found = self.manager.usage(session_id=session_id, user_id=self.user_id)
        except SessionNotFound:
            raise not_found("Session", session_id) from None
        return usage_object(found, session_id=session_id)

    def usage_by_day(self, days: int) -> Json:
        """Return what the turns of all users took, day by day (UTC), today last."""
        today = datetime.now(UTC).date()
        kept = self.manager.store.parts.usage.days(today, days)
        found = [usage_object(one.total, day=one.day.isoformat()) for one in kept]
        return {"object": "list", "data": found, "has_more": False, "next_page": None}

    # --- turns that wait ----------------------------------------------------------------------

    def waiting(self, limit: int, cursor: str | None) -> Json:
        """Return a page of the user's turns that wait, those that were parked last first."""
        found = self.manager.list_waiting(self.user_id, limit, cursor)
        return _page(found, [_waiting(row) for row in found])

    def answer(
        self, response: ResponseId, body: object, agents: Mapping[str, SessionAgent]
    ) -> Json:
        """Answer calls for which a turn waits; with the last one it goes on in the pool.

        It does so with its own model, which is one of the ``agents``. A call that is answered
        already is passed over. Raises RequestRefused, with 409 for a turn that does not wait.
        """
        answers = answers_in(body)
        session_id, turn_id = response.session_id, response.turn_id
        parked = self._parked(response)
        for call in parked.calls:
            if call.waits_for == "approval" and isinstance(answers.get(call.id), (str, ToolResult)):
                problem = (
                    f"The call '{call.id:.100}' waits for 'approve': the agent runs it itself."
                )
                refuse(problem, f"answers.{call.id:.100}")
        name = self.manager.store.session_state(session_id, user_id=self.user_id).agent_name
        usual = agents.get(name, self.manager.agent)
        agent, options = agent_and_options(agents, usual, parked.staged)
        with about("answers"):
            agent.turns.answer_soon(session_id, turn_id, answers, self.user_id, options)
        still = [call.to_dict() for call in parked.calls if call.id not in answers]
        following = response.at(leg_behind(parked.staged[1:]))
        told = {"id": str(response.at(0)), "object": "waiting_turn", **_where(session_id)}
        return {**told, "calls": still, "response": None if still else str(following)}

    def _parked(self, response: ResponseId) -> Parked:
        parking = self.manager.store.parts.parking
        try:
            parked = parking.parked(response.session_id, user_id=self.user_id)
        except SessionNotFound:
            raise not_found("Response", response) from None
        if parked is None or parked.turn_id != response.turn_id:
            problem = f"Response '{response!s:.200}' does not wait for an answer."
            raise RequestRefused(problem, status=409, code="not_waiting")
        return parked


def answers_in(body: object) -> dict[str, Answer]:
    """Return the answers to calls by the ids of these: approvals, denials and results."""
    given = object_of(object_of(body, "body").get("answers"), "answers")
    if not given:
        problem = "Missing required parameter: 'answers', an object by the ids of calls."
        refuse(problem, "answers", "missing_required_parameter")
    return {call_id: _answer(call_id, one) for call_id, one in given.items()}


def _answer(call_id: str, value: object) -> Answer:
    param = f"answers.{call_id:.100}"
    if isinstance(value, str):
        return value
    given = object_of(value, param)
    if ("approve" in given) == ("output" in given):
        refuse(f"Invalid '{param}': it has either 'approve' or 'output'.", param)
    if "output" in given:
        output = text_in(given, "output", param)
        return ToolResult(call_id, "", output, is_error=flag_in(given, "is_error", False))
    if not isinstance(given["approve"], bool):
        problem = f"Invalid type for '{param}.approve': expected a boolean."
        refuse(problem, f"{param}.approve", "invalid_type")
    return Approve() if given["approve"] else Deny(text_in(given, "reason", param))


def usage_object(total: UsageTotals, **about: Any) -> Json:
    """Return totals by the names of ``UsageTotals``, with what they are ``about``."""
    amounts = dict(zip(total.names(), total.amounts(), strict=True))
    return {"object": "usage", **about, **amounts, "total_tokens": total.total_tokens}


def _page(found: Page[dict[str, Any]], data: Sequence[Json]) -> Json:
    more = found.cursor is not None
    return {"object": "list", "data": list(data), "has_more": more, "next_page": found.cursor}


def _listed(row: Json) -> Json:
    names = "title", "message_count", "turns", "open_turn", "forked_from"
    times = {name: _seconds(row[name]) for name in ("created_at", "last_activity", "expires_at")}
    kept = {name: row[name] for name in names}
    return _told(row["session_id"], agent=row["agent_name"], **times, **kept)


def _told(session_id: str, **more: Any) -> Json:
    return {**_where(session_id), "id": session_id, "object": "session", **more}


def _where(session_id: str) -> Json:
    """Return which session it is, in our words and in OpenAI's."""
    return {"session_id": session_id, "conversation": {"id": conversation_id(session_id)}}


def _waiting(row: Json) -> Json:
    return {
        "id": str(ResponseId(row["session_id"], row["turn_id"])),
        "object": "waiting_turn",
        **_where(row["session_id"]),
        "waiting_since": _seconds(row["since"]),
        "message": row["message"],
        "calls": row["calls"],
    }


def _seconds(text: str | None) -> int | None:
    """Return a time of the store's listings as seconds since the epoch."""
    return None if text is None else int(datetime.fromisoformat(text).timestamp())
