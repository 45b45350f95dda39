"""Errors as OpenAI's clients expect them: status, ``{"error": {message type param code}}``."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from ... import errors
from ..problems import problem_of, words_for

Json = dict[str, Any]


class RequestRefused(errors.MiniAgentError):
    """The request cannot be used. ``param`` is where the fault is, as ``input[2].type``."""

    def __init__(
        self, problem: str, *, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(problem)
        self.param = param
        self.status = status
        self.code = code


def not_found(what: str, given: object, param: str | None = None) -> RequestRefused:
    """Return the error for what is not there, or is somebody else's."""
    return RequestRefused(
        f"{what} with id '{given!s:.200}' not found.", param=param, status=404, code="not_found"
    )


@frozen
class Fault:
    """What is sent of an error: the body, its status and headers."""

    status: int
    body: Json
    headers: dict[str, str] = field(factory=dict)


QUOTA = "insufficient_quota"
_CODES = {
    "budget_exceeded": QUOTA,
    "rate_limited": "rate_limit_exceeded",
    "context_length": "context_length_exceeded",
    "session_busy": "conversation_locked",
}


def fault_of(error: BaseException) -> Fault:
    """Return what is sent of an error, one of ours or any other.

    Words for people, without the hints, which are for who runs the program. What is wrong with the
    request is told as it is: that is for who wrote the client.
    """
    problem = problem_of(error)
    status, message, code, param = problem.status, problem.detail, problem.code, None
    if isinstance(error, RequestRefused):
        status, message, code, param = error.status, error.problem, error.code or "", error.param
    elif isinstance(error, errors.SessionWaiting):
        status, message, param = 400, waiting_for(error.calls), "input"
    elif type(error) is errors.InvalidInput:
        status, message, code = 400, f"{error.problem}." if error.problem else message, ""
    elif isinstance(error, errors.ModelError):
        code = _CODES.get(error.kind, error.kind)
        status = 400 if status == 422 else status
    headers = problem.headers if problem.status == status else {}
    return Fault(status, body_of(status, message, param, _CODES.get(code, code)), headers)


def body_of(status: int, message: str, param: str | None, code: str) -> Json:
    """Return the body of an error."""
    kind = "invalid_request_error"
    if status == 401:
        kind = "authentication_error"
    elif status == 403:
        kind = "permission_error"
    elif status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code or None}}


def waiting_for(calls: object) -> str:
    """Say that calls have to be answered first, and which ones."""
    ids = [str(getattr(call, "id", call)) for call in calls] if isinstance(calls, tuple) else []
    return f"No tool output found for function call {', '.join(ids)}."


def error_of(failure: Json) -> Json:
    """Return the ``error`` of a response whose turn failed, by what TURN_FAILED tells of it."""
    code, words = words_for(str(failure.get("error", "")))
    return {"code": _CODES.get(code, code) if code != "internal_error" else "server_error",
            "message": words}  # fmt: skip
