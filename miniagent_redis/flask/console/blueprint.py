"""The blueprint of the console: its routes, the headers of its pages, and its errors as pages."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, Unauthorized

from ...doors.problems import problem_of
from ...doors.refusals import NotLoggedIn
from ...error_base import MiniAgentError
from ..answers import tell_operators
from ..origins import may_change, refuse_foreign
from .access import Access
from .act import add_act
from .guard import LOGIN, Guard
from .health import add_health
from .look import add_look
from .rendering import HEADERS, Pages
from .talk import add_talk


def console_blueprint(access: Access, *, token: str | None = None) -> Blueprint:
    """Return the console's routes, to be registered under a prefix of the app's choice.

    One for a fixed user stands alone: it asks for the ``token``, or answers this machine only.
    """
    name = f"miniagent_console_{access.agents.prefix.lower()}".rstrip("_")
    routes = Blueprint(name, __name__, static_folder="static")
    pages = Pages(access)

    @routes.before_request
    def check() -> None:
        if may_change():
            refuse_foreign(access.agents.settings.web.trusted_origins)

    if access.user is not None:
        Guard(token, pages).add_to(routes)

    @routes.before_request
    def check_writing() -> None:
        if may_change() and (request.endpoint or "").rpartition(".")[2] != LOGIN:
            access.must_write()

    @routes.after_request
    def add_headers(response: Response) -> Response:
        if response.mimetype == "text/html" or response.mimetype == "application/json":
            response.headers.update(HEADERS)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @routes.errorhandler(MiniAgentError)
    def show_error(error: MiniAgentError) -> ResponseReturnValue:
        tell_operators(error)
        if isinstance(error, NotLoggedIn):  # the app knows where people log in
            return current_app.handle_http_exception(Unauthorized(problem_of(error).detail))
        problem = problem_of(error)
        is_told = problem.status == 422 or problem.status >= 500  # else the user's words say all
        details = error if is_told and access.admin is not None and access.is_admin else None
        page = pages.show(
            "problem", problem.status, title=problem.title, said=problem.detail, error=details
        )
        page.headers.update(problem.headers)
        return page

    @routes.errorhandler(HTTPException)
    def show_refusal(error: HTTPException) -> ResponseReturnValue:
        said = error.description or ""
        return pages.show("problem", error.code or 500, title=error.name, said=said, error=None)

    add_talk(routes, access, pages)
    add_look(routes, access, pages)
    add_health(routes, access, pages)
    add_act(routes, access, pages)
    return routes
