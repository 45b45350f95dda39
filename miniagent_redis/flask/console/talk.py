"""Talking: a conversation, its next message, its answer as it is given, approvals, and the end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ...doors.problems import words_for
from ...errors import InvalidInput
from ...models import Approve, Deny, EventType, new_id
from ...store.parking import Answer
from ..serving import follow
from ..streams import Stream
from .access import Access, Agents
from .again import add_again
from .rendering import Pages
from .sessions import UNREADABLE, conversation, mark_of, titled
from .words import from_link, to_link

_SHOWN = 200  # messages
_LISTED = 20  # conversations
_PATIENCE = 10.0
"""Seconds for which a browser without a script waits for an answer, before it looks again."""
_A_MOMENT = 0.1
"""Seconds for what has happened to be read."""
_BY_SCRIPT = "X-Console"
"""The header with which our script says that it reads the answer by itself."""


def add_talk(routes: Blueprint, access: Access, pages: Pages) -> None:
    """Add what a person talks with. All of it is about sessions of their own."""

    @routes.get("/")
    def talk() -> ResponseReturnValue:
        session_id = from_link(request.args.get("id", ""))
        own = access.own
        found, answers = None, access.agents
        if session_id:  # first, so that the list never knows less than the conversation
            try:
                found = conversation(access.all, session_id, access.user_id, _SHOWN)
                answers = access.agents_of(session_id, access.user_id)
            except UNREADABLE as exc:
                return pages.show("unreadable", session_id=session_id, error=exc)
            begun = request.args.get("turn", "")
            if begun and found.open_turn != begun and (failed := _why_it_failed(session_id, begun)):
                return failed
        listed = titled(access.all, own.list_sessions(limit=_LISTED), access.user_id)
        return pages.show(
            "talk",
            session_id=session_id,
            new_session=str(uuid.uuid4()),
            found=found,
            listed=listed,
            next_turn=new_id(),
            agents=list(access.named),
            agent_name=answers.settings.agent.name,
        )

    @routes.post("/say")
    def say() -> ResponseReturnValue:
        text = request.form.get("message", "").strip()
        session_id = from_link(request.form.get("id", ""))
        if not text:
            return _back(session_id)
        if session_id:
            own = access.own_of(session_id)
        else:  # the page has chosen its id, so that a message sent twice makes one session
            own = access.own_with(_chosen(access, request.form.get("agent", "")))
            session_id = own.create_or_resume_session(session_id=_uuid(request.form.get("new", "")))
        turn_id, _ = own.start(session_id, text, request.form.get("turn") or new_id())
        return _shown(session_id, turn_id)

    def _shown(session_id: str, turn_id: str, after: str | None = None) -> Response:
        """Answer with the page; to a browser without a script a little later, or why it failed."""
        if _BY_SCRIPT in request.headers:  # the page tells it, if the turn is over by then
            return _back(session_id, turn_id)
        return _why_it_failed(session_id, turn_id, after, _PATIENCE) or _back(session_id)

    def _why_it_failed(
        session_id: str, turn_id: str, after: str | None = "", patience: float = _A_MOMENT
    ) -> Response | None:
        """Return the page that says so, if the turn fails within so many seconds."""
        end = time.monotonic() + patience
        for event in access.all.watch(session_id, after, patience, turn_id=turn_id):
            if event.type is EventType.TURN_FAILED:
                failed = words_for(str(event.data.get("error")))[1]
                return pages.show("problem", 502, title="No answer", said=failed, error=None)
            if event.type is EventType.TURN_WAITING or time.monotonic() > end:
                break
        return None

    add_again(routes, access, _shown)

    @routes.get("/events")
    def events() -> Response:
        """Tell an answer as it is given: of anybody's session, if the request is an admin's."""
        opening = access.agents.opening
        web, agent = opening.settings.web, opening.agent()
        stream = Stream(opening.streams, web.max_streams, agent.clock, web.ping_interval)
        session_id, turn_id = from_link(request.args.get("id", "")), request.args.get("turn")
        return follow(stream, agent, access.whose, session_id, None, turn_id)

    @routes.get("/state")
    def state() -> ResponseReturnValue:
        session_id = from_link(request.args.get("id", ""))
        return jsonify(mark=mark_of(access.all, session_id, access.whose))

    @routes.post("/stop")
    def stop() -> ResponseReturnValue:
        session_id = from_link(request.form.get("id", ""))
        access.own_of(session_id).cancel(session_id)
        return _back(session_id)

    @routes.post("/answer")
    def answer() -> ResponseReturnValue:
        """Answer a call that waits: of anybody's turn, if the request is an admin's."""
        session_id, whose = from_link(request.form.get("id", "")), access.whose
        given: dict[str, Answer] = {from_link(request.form.get("call", "")): _answer(request.form)}
        turn_id = request.form.get("turn", "")
        if whose is None:
            whose = access.all.store.session_state(session_id).user_id
        agent = access.agents_of(session_id, whose).unbound.agent
        started = agent.turns.answer_soon(session_id, turn_id, given, whose)
        match request.form.get("back"):
            case "waiting":
                return redirect(url_for(".waiting"), 303)
            case "session":
                return redirect(url_for(".session", id=to_link(session_id)), 303)
        if access.all.store.parts.parking.parked(session_id, user_id=whose) is not None:
            return _back(session_id)  # others wait still
        return _shown(session_id, *started)


def _chosen(access: Access, name: str) -> Agents:
    if name and name not in access.named:
        raise InvalidInput(f"there is no agent {name!r:.100} to talk with")
    return access.named[name] if name else access.agents


def _answer(form: Mapping[str, str]) -> Answer:
    match form.get("verdict"):
        case "approve":
            return Approve()
        case "deny":
            return Deny(form.get("why", "").strip())
        case "result":
            return form.get("result", "")
    raise InvalidInput("a call is approved, denied, or given a result")


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as exc:
        raise InvalidInput("the page has no id for a new conversation", cause=str(exc)) from exc


def _back(session_id: str, turn_id: str | None = None) -> Response:
    where = url_for(".talk", id=to_link(session_id) if session_id else None, turn=turn_id)
    answer: Response = redirect(f"{where}#end", 303)  # type: ignore[assignment]
    return answer
