"""What is told over HTTP of an error: a status, when to try again, and words for people."""

from __future__ import annotations

import logging

import pytest
from flask import Flask, abort

from miniagent_redis import errors as e
from miniagent_redis.doors.problems import words_for
from miniagent_redis.flask import (
    ForeignOrigin,
    MessageTooLarge,
    MiniAgent,
    NotLoggedIn,
    TooManyStreams,
    problem_of,
)
from miniagent_redis.models import WaitingCall

SECRET = "redis://ada:secret@10.0.0.7"


def model_error(kind: e.ModelErrorKind, retry_after: float | None = None) -> e.ModelError:
    error = e.ModelError(SECRET, hint=SECRET)
    error.kind, error.retry_after = kind, retry_after
    return error


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (e.MiniAgentError(SECRET), 500, "internal_error", None),
        (ValueError(SECRET), 500, "internal_error", None),
        (e.RecordUnreadable("key", SECRET), 422, "record_unreadable", None),
        (e.SchemaTooNew(SECRET, 2, 1), 503, "schema_too_new", 1),
        (e.InvalidInput(SECRET), 422, "invalid_input", None),
        (e.SessionNotFound("s"), 404, "session_not_found", None),
        (e.SessionExists("s"), 409, "session_exists", None),
        (e.SessionChanged("s", 1, 2), 409, "session_changed", None),
        (e.SessionBusy("s", 25.0), 409, "session_busy", 1),
        (e.SessionWaiting("s", "t"), 409, "session_waiting", None),
        (e.SessionTooLarge("s", 9, 8), 413, "session_too_large", None),
        (e.TurnSuperseded("s", "t"), 409, "turn_superseded", None),
        (e.TurnNotSaved("s", "t", "text", SECRET), 503, "turn_not_saved", 1),
        (e.TurnUncertain("s", "t", SECRET), 503, "turn_uncertain", None),
        (e.NotDurable("s", "t", SECRET), 503, "turn_uncertain", None),
        (e.LockTimeout(SECRET, 1.0), 503, "lock_timeout", 1),
        (e.StoreUnavailable(SECRET), 503, "store_unavailable", 1),
        (e.OutcomeUnknown("it", SECRET), 503, "outcome_unknown", None),
        (e.PoolExhausted(5, 0.5), 503, "store_unavailable", 1),
        (e.StoreMisconfigured(SECRET), 503, "store_misconfigured", None),
        (e.RateLimited(SECRET, 41.2), 429, "rate_limited", 42),
        (e.BudgetExceeded(SECRET, 7, "tokens", 41.2), 429, "budget_exceeded", 42),
        (e.BudgetExceeded(SECRET, 7, "tokens", None), 429, "budget_exceeded", None),
        (model_error("auth"), 502, "model_error", None),
        (model_error("overloaded"), 503, "model_error", 1),
        (model_error("rate_limit", 7.0), 503, "model_error", 7),
        (model_error("timeout"), 504, "model_error", 1),
        (model_error("content_filter"), 422, "model_error", None),
        (e.IncompleteResponse(SECRET), 502, "incomplete_response", None),
        (e.ToolError(SECRET), 502, "tool_error", None),
        (NotLoggedIn(), 401, "not_logged_in", None),
        (ForeignOrigin(SECRET, "host"), 403, "foreign_origin", None),
        (MessageTooLarge(9, 8), 413, "message_too_large", None),
        (TooManyStreams(8, 2.5), 503, "too_many_streams", 3),
    ],
)
def test_each_error_has_its_status(
    error: BaseException, status: int, code: str, retry_after: int | None
) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code, problem.retry_after) == (status, code, retry_after)
    assert SECRET not in str(problem.to_dict())
    assert problem.headers.get("Retry-After") == (None if retry_after is None else str(retry_after))


@pytest.mark.parametrize("name", sorted({*e.__all__} - {"MiniAgentError"}))
def test_each_error_that_a_turn_failed_with_is_told_as_one_of_ours(name: str) -> None:
    assert words_for(name)[0] != "internal_error"


def test_who_waits_is_told_for_what() -> None:
    call = WaitingCall("c1", "refund", {"order": 7}, "approval")
    told = problem_of(e.SessionWaiting("s", "t", (call,))).to_dict()
    assert (told["session_id"], told["turn_id"]) == ("s", "t")
    assert told["calls"] == [call.to_dict()]


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    MiniAgent(app)

    @app.route("/busy")
    def busy() -> str:
        raise e.SessionBusy("s", 25.0)

    @app.route("/broken")
    def broken() -> str:
        raise e.MiniAgentError("it")

    @app.route("/theirs")
    def theirs() -> str:
        abort(404)

    return app


def test_a_program_gets_a_problem_and_the_log_gets_the_hint(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "miniagent_redis")
    answer = app.test_client().get("/busy")
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "An answer is still being given. Please try again in a moment.",
        "code": "session_busy",
        "retry_after": 1,
    }
    assert "GET /busy: session 's' is busy" in caplog.text
    assert "busy_timeout" in caplog.text


def test_what_somebody_wrote_into_an_error_or_a_path_is_one_line_of_the_log(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    @app.route("/of/<path:name>")
    def named(name: str) -> str:
        raise e.StoreUnavailable("no\nroot: forged", cause="\x1b[2J\ud800", hint="a\u2028b")

    assert app.test_client().get("/of/%1B%5B2Jx").status_code == 503
    (line,) = caplog.messages
    assert line == r"GET /of/\x1b[2Jx: no\nroot: forged. \x1b[2J\ud800. a\u2028b."


def test_a_person_gets_the_page_of_the_app(app: Flask) -> None:
    @app.errorhandler(409)
    def page(error: Exception) -> tuple[str, int]:
        return f"<h1>Sorry</h1>{error}", 409

    answer = app.test_client().get("/busy", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 409
    assert answer.text.startswith("<h1>Sorry</h1>")


def test_a_person_is_told_when_to_come_back(app: Flask) -> None:
    answer = app.test_client().get("/busy", headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 409
    assert "An answer is still being given" in answer.text
    assert answer.headers["Retry-After"] == "1"


def test_what_should_not_happen_has_its_traceback_in_the_log(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    assert app.test_client().get("/broken").status_code == 500
    assert "Traceback" in caplog.text


def test_errors_of_the_app_are_its_own(app: Flask) -> None:
    assert app.test_client().get("/theirs").mimetype == "text/html"
