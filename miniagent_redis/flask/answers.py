"""Answers to requests that failed: a problem (RFC 9457), or the app's own page for people."""

from __future__ import annotations

import logging

from flask import Flask, Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, default_exceptions

from ..doors.problems import MEDIA_TYPE, Problem, problem_of
from ..error_base import escaped
from ..errors import MiniAgentError

log: logging.Logger = logging.getLogger("miniagent_redis")

_PROGRAMS_FIRST = (MEDIA_TYPE, "application/json", "text/event-stream", "text/html")


def answer_errors(app: Flask) -> None:
    """Have errors of this package answered with their status, not as a 500. Twice is fine."""
    app.register_error_handler(MiniAgentError, _answer)


def response_to(problem: Problem) -> Response:
    """Return the problem as a response."""
    response = jsonify(problem.to_dict())
    response.status_code, response.mimetype = problem.status, MEDIA_TYPE
    response.headers.update(problem.headers)
    return response


def _answer(error: Exception) -> ResponseReturnValue:
    problem = problem_of(error)
    tell_operators(error)
    if request.accept_mimetypes.best_match(_PROGRAMS_FIRST) == "text/html":
        kind: type[HTTPException] = default_exceptions[problem.status]
        page = current_app.make_response(current_app.handle_http_exception(kind(problem.detail)))
        page.headers.update(problem.headers)
        return page
    return response_to(problem)


def tell_operators(error: BaseException) -> None:
    """Log an error with its cause and hint, which are not for those who sent the request."""
    problem = problem_of(error)
    # 422 is mostly the app's own mistake, and its author has to see what is wrong.
    # The others name sessions, whose ids are not for logs that everybody reads.
    level = logging.WARNING if problem.status >= 500 or problem.status == 422 else logging.DEBUG
    unknown = problem.status == 500
    log.log(
        logging.ERROR if unknown else level,
        "%s %s: %s",
        request.method,
        escaped(request.path),
        error,
        exc_info=error if unknown else None,
    )
