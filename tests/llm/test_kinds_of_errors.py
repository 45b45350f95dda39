"""A ModelError tells as data what kind of thing went wrong, whoever the vendor is."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from miniagent_redis import AgentConfig, RedisConfig, SessionAgent, SessionManager
from miniagent_redis.errors import IncompleteResponse, ModelError
from miniagent_redis.llm import ScriptedModel, fold, resolve_model
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import HI, PROVIDERS, begun, name, said


def body(provider: str, message: str, code: str) -> dict[str, Any]:
    """Return an error as the vendor writes it."""
    if provider == "openai":
        return {"error": {"message": message, "type": "some_error", "code": code}}
    if provider == "anthropic":
        return {"type": "error", "error": {"type": code, "message": message}}
    return {"error": {"code": 0, "message": message, "status": code}}


def failure(provider: str, canned: CannedServer) -> ModelError:
    with pytest.raises(ModelError) as caught:
        fold(resolve_model(name(provider, canned)).stream(HI))
    return caught.value


@pytest.mark.parametrize(
    ("provider", "status", "code", "message", "kind"),
    [
        ("openai", 401, "invalid_api_key", "Incorrect API key provided", "auth"),
        ("anthropic", 403, "permission_error", "No.", "auth"),
        ("gemini", 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid one.", "auth"),
        ("openai", 429, "insufficient_quota", "You exceeded your current quota", "quota"),
        ("openai", 402, "402", "Payment required", "quota"),
        ("anthropic", 400, "invalid_request_error", "Your credit balance is too low", "quota"),
        ("openai", 429, "rate_limit_exceeded", "Slow down", "rate_limit"),
        ("anthropic", 429, "rate_limit_error", "Slow down", "rate_limit"),
        ("gemini", 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", "rate_limit"),
        ("openai", 400, "context_length_exceeded", "Too long", "context_length"),
        ("openai", 400, "", "This model's maximum context length is 8192 tokens", "context_length"),
        ("anthropic", 400, "invalid_request_error", "prompt is too long: 9 > 8", "context_length"),
        ("anthropic", 413, "request_too_large", "Request exceeds the size", "context_length"),
        (
            "gemini",
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds 8",
            "context_length",
        ),
        ("openai", 404, "model_not_found", "No such model", "not_found"),
        ("gemini", 404, "NOT_FOUND", "No such model", "not_found"),
        ("openai", 400, "content_filter", "Filtered", "content_filter"),
        ("openai", 400, "invalid_value", "temperature is above 2", "bad_request"),
        ("anthropic", 400, "invalid_request_error", "max_tokens: too large", "bad_request"),
        ("gemini", 400, "INVALID_ARGUMENT", "No such field", "bad_request"),
    ],
)
def test_what_the_vendor_refuses_has_its_kind(
    provider: str, status: int, code: str, message: str, kind: str, canned: CannedServer
) -> None:
    for _ in range(3):
        error = body(provider, message, code)
        if provider == "gemini":
            error["error"]["code"] = status
        canned.add(error, status=status)
    found = failure(provider, canned)
    assert (found.kind, found.status) == (kind, status)
    assert found.code == (code or "some_error")
    assert message[:10] in found.cause
    assert found.hint


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_fails_within_the_stream_has_its_kind(provider: str, canned: CannedServer) -> None:
    error = {
        "openai": body("openai", "Overloaded", "overloaded"),
        "anthropic": body("anthropic", "Overloaded", "overloaded_error"),
        "gemini": {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}},
    }[provider]
    canned.add(*begun(provider, "Hello"), error)
    found = failure(provider, canned)
    assert isinstance(found, IncompleteResponse)
    assert found.kind == "overloaded"
    assert found.code


def test_a_day_that_is_used_up_at_google_is_no_matter_of_seconds(canned: CannedServer) -> None:
    violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    canned.add({"error": error}, status=429)
    assert failure("gemini", canned).kind == "quota"


def test_without_an_answer_it_is_the_connection_or_the_time() -> None:
    with pytest.raises(ModelError) as caught:
        fold(resolve_model("openai:m@http://127.0.0.1:1").stream(HI))
    assert (caught.value.kind, caught.value.status, caught.value.code) == ("connection", None, "")


def test_a_key_that_is_missing_is_a_matter_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match="needs a key") as caught:
        fold(resolve_model("openai:m").stream(HI))
    assert caught.value.kind == "auth"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("silent"), "timeout"),
        (ConnectionResetError("gone"), "connection"),
        (ValueError("?"), "bad_reply"),
    ],
)
def test_models_of_ones_own_have_kinds_by_what_they_raise(error: Exception, kind: str) -> None:
    for reply in (error, ["Hel", error]):
        with pytest.raises(ModelError) as caught:
            fold_own(reply)
        assert caught.value.kind == kind


def fold_own(reply: Any) -> None:
    with SessionAgent(
        AgentConfig(model=ScriptedModel([reply])), redis_config=RedisConfig(url="memory://kinds")
    ) as agent:
        manager = SessionManager(agent)
        manager.chat(manager.create_or_resume_session(), "Hi")


def test_an_answer_that_a_filter_left_empty_says_so(canned: CannedServer) -> None:
    canned.add(*said("gemini", finish="SAFETY"))
    with SessionAgent(
        AgentConfig(model=name("gemini", canned)), redis_config=RedisConfig(url="memory://kinds")
    ) as agent:
        manager = SessionManager(agent)
        with pytest.raises(ModelError, match="SAFETY") as caught:
            manager.chat(manager.create_or_resume_session(), "Hi")
    assert caught.value.kind == "content_filter"


def test_an_error_keeps_what_it_tells_between_processes() -> None:
    error = ModelError("no")
    error.kind, error.status, error.code = "quota", 429, "insufficient_quota"
    other = pickle.loads(pickle.dumps(error))
    assert (other.kind, other.status, other.code) == ("quota", 429, "insufficient_quota")
