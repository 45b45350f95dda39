"""The routes that OpenAI does not have: sessions of a user, usage, turns that wait, health."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flask import Blueprint, Response, jsonify, request

from ..doors.openai.checks import about
from ..doors.openai.conversations import MOST
from ..doors.openai.faults import RequestRefused, not_found
from ..doors.openai.ids import ResponseId, session_of
from ..doors.openai.requests import parameter
from ..doors.openai.sessions import MOST_DAYS, Sessions
from ..errors import MiniAgentError
from ..session import SessionAgent, SessionManager
from .answers import tell_operators
from .openai_requests import Doorkeeper, Json, body

OPEN_ROUTES = frozenset({"health"})
"""Names of routes that ask nobody who it is: for what starts and watches the service."""


def add_sessions(
    blueprint: Blueprint,
    door: Doorkeeper,
    agents: Callable[[], Mapping[str, SessionAgent]],
    is_admin: Callable[[], bool],
) -> None:
    """Add the routes to the blueprint; to who ``is_admin`` the totals of all users are shown."""

    def sessions() -> Sessions:
        return Sessions(door.manager(), door.user_id())

    @blueprint.get("/sessions")
    def list_sessions() -> Json:
        with about("page"):
            return sessions().page(*_page_asked_for())

    @blueprint.get("/sessions/<session>")
    def get_session(session: str) -> Json:
        return sessions().get(_read(session))

    @blueprint.post("/sessions/<session>")
    def update_session(session: str) -> Json:
        return sessions().update(_read(session), body())

    @blueprint.delete("/sessions/<session>")
    def delete_session(session: str) -> Json:
        return sessions().delete(_read(session))

    @blueprint.get("/sessions/<session>/usage")
    def usage_of_session(session: str) -> Json:
        return sessions().usage(_read(session))

    @blueprint.get("/usage")
    def usage() -> Json:
        return sessions().usage()

    @blueprint.get("/usage/days")
    def usage_by_day() -> Json:
        if not is_admin():
            problem = "What all users took is told to who runs the service."
            raise RequestRefused(problem, status=403, code="not_permitted")
        days: int = parameter(request.args.get("days"), 1, MOST_DAYS, "days", 30)
        return sessions().usage_by_day(days)

    @blueprint.get("/waiting")
    def list_waiting() -> Json:
        with about("page"):
            return sessions().waiting(*_page_asked_for())

    @blueprint.post("/waiting/<response_id>")
    def answer_waiting(response_id: str) -> Json:
        response = ResponseId.read(response_id)
        if response is None:
            raise not_found("Response", response_id)
        return sessions().answer(response, body(), agents())

    @blueprint.get("/health")
    def health() -> tuple[Response, int, dict[str, str]]:
        told = _health(door.manager)
        status = 503 if told["status"] == "down" else 200
        return jsonify(told), status, {"Cache-Control": "no-store"}


def _health(manager: Callable[[], SessionManager]) -> Json:
    """Return how the store is; its address and what is wrong with it are for the log."""
    try:
        found = manager().store.health()
    except MiniAgentError as exc:
        tell_operators(exc)
        return {"object": "health", "status": "down"}
    told = {"status": found.state, "since": int(found.since), "durability": found.durability}
    return {"object": "health", **told, "latency": found.latency}


def _page_asked_for() -> tuple[int, str | None]:
    limit: int = parameter(request.args.get("limit"), 1, MOST, "limit", 20)
    return limit, request.args.get("page") or None


def _read(session: str) -> str:
    found = session_of(session)
    if found is None:
        raise not_found("Session", session)
    return found
