"""Streams for chat pages: a blueprint for ``useChat`` of the AI SDK, and for clients of AG-UI.

    app.register_blueprint(front_ends_blueprint(agents))

Who asks is told by the app's login, or by API keys; a chat is a session of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ..doors.front_ends.ai_sdk import END, HEADERS
from ..doors.front_ends.asked import chat_request, run_input
from ..doors.front_ends.telling import Telling
from ..doors.front_ends.turns import PageTurns
from ..doors.openai.faults import RequestRefused
from ..doors.openai.requests import parameter
from ..doors.problems import Problem, problem_of
from ..errors import InvalidInput, MiniAgentError, SessionNotFound
from .answers import response_to, tell_operators
from .bound import measure
from .extension import MiniAgent
from .openai import MAX_BODY, Door
from .openai_requests import METHODS, Json, body, repeats, unnamed
from .unknown_methods import answer_unknown_methods

MOST_MESSAGES = 1000
_MESSAGES = 200
_KNOWN = {
    "/api/chat": ["POST"],
    "/api/chat/<path:chat_id>/stream": ["GET", "DELETE"],
    "/api/chat/<path:chat_id>": ["GET"],
    "/agui": ["POST"],
    "/agui/<path:model>": ["POST"],
}
"""The methods of each path; any other is answered as this door does, not by the app's own page."""


def front_ends_blueprint(
    *agents: MiniAgent,
    models: Mapping[str, MiniAgent] | None = None,
    keys: Mapping[str, str] | None = None,
    max_body: int = MAX_BODY,
    read_only: bool = False,
) -> Blueprint:
    """Return the blueprint: it has ``/api/chat`` and ``/agui``.

    The first agent answers, or the one that a page names as ``model``. ``models``, ``keys``
    and ``read_only`` as of ``openai_blueprint``. Raises InvalidInput if there is no agent.
    """
    door = Door(agents, dict(models or {}), dict(keys or {}), max_body, read_only)
    if not agents and not models:
        raise InvalidInput("there is no agent", hint="write front_ends_blueprint(agents)")
    blueprint = Blueprint("miniagent_front_ends", __name__)
    blueprint.before_request(door.check)
    blueprint.register_error_handler(Exception, _answer)
    answer_unknown_methods(blueprint, door.check, _answer)
    _add_ai_sdk(blueprint, door)
    _add_agui(blueprint, door)

    for number, (path, known) in enumerate(_KNOWN.items()):
        others = [method for method in METHODS if method not in known]
        view = partial(_other_method, known)
        blueprint.add_url_rule(path, f"other_{number}", view, methods=others)
    return blueprint


def _add_ai_sdk(blueprint: Blueprint, door: Door) -> None:
    @blueprint.post("/api/chat")
    def chat() -> Response:
        asked = chat_request(body())
        streaming, turns = door.streaming(), _turns(door, asked.model)
        begun = turns.begin(asked, _key(turns))
        told = _telling(door, turns.model).message(begun)
        return streaming.of(told, unnamed, END, failed=_failed_chat, headers=HEADERS)

    @blueprint.get("/api/chat/<path:chat_id>/stream")
    def resume(chat_id: str) -> Response:
        streaming = door.streaming()
        told = _telling(door).resume(chat_id)
        if told is None:
            streaming.close()
            return Response(status=204)
        return streaming.of(told, unnamed, END, failed=_failed_chat, headers=HEADERS)

    @blueprint.delete("/api/chat/<path:chat_id>/stream")
    def cancel(chat_id: str) -> Response:
        with suppress(SessionNotFound):  # of a page on which nothing was said yet
            door.manager().cancel(chat_id, user_id=door.user_id())
        return Response(status=204)

    @blueprint.get("/api/chat/<path:chat_id>")
    def messages(chat_id: str) -> Json:
        limit = parameter(request.args.get("limit"), 1, MOST_MESSAGES, "limit", _MESSAGES)
        return _telling(door).messages(chat_id, limit)


def _add_agui(blueprint: Blueprint, door: Door) -> None:
    @blueprint.post("/agui")
    @blueprint.post("/agui/<path:model>")
    def run(model: str | None = None) -> Response:
        asked, run_id = run_input(body())
        streaming, turns = door.streaming(), _turns(door, model)
        told = _telling(door, turns.model).run(turns, asked, run_id, _key(turns))
        return streaming.of(told, unnamed, failed=_failed_run)


def _other_method(known: list[str], **path: str) -> Response:
    raise MethodNotAllowed(known)


def _turns(door: Door, model: str | None) -> PageTurns:
    name = model or next(iter(door.models()))
    most = door.models()[name].settings.web.max_message_size if name in door.models() else 0
    return PageTurns(door.manager(name), door.user_id(), name, partial(measure, most=most))


def _telling(door: Door, model: str | None = None) -> Telling:
    agents = [one.agent for one in door.models().values()]

    def is_declared(name: str) -> bool:
        found = (agent.agent.tools.get(name) for agent in agents)
        return any(tool is not None and tool.is_declared for tool in found)

    return Telling(door.manager(model), door.user_id(), is_declared, door.streams.gate())


def _key(turns: PageTurns) -> str:
    """Return the name that the request's Idempotency-Key gives to its turn; empty without one."""
    given = repeats()
    return given.name(turns.manager.store, turns.user_id) if given.key else ""


def _failed_chat(error: MiniAgentError, number: int) -> list[Json]:
    return [{"type": "error", "errorText": _problem_of(error).detail}]


def _failed_run(error: MiniAgentError, number: int) -> list[Json]:
    problem = _problem_of(error)
    return [{"type": "RUN_ERROR", "message": problem.detail, "code": problem.code}]


def _problem_of(error: BaseException) -> Problem:
    if isinstance(error, RequestRefused):
        more = {"param": error.param} if error.param else {}
        return Problem(error.status, error.code or "invalid_request", error.problem, more=more)
    return problem_of(error)


def _answer(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        problem = Problem(error.code or 500, "http_error", error.description or error.name)
        response = response_to(problem)
        if isinstance(error, MethodNotAllowed):
            response.allow.update(error.valid_methods or ())
        return response
    if not isinstance(error, RequestRefused):
        tell_operators(error)
    return response_to(_problem_of(error))
