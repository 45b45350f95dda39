"""What vendors and servers say when they refuse, as they document it, and the kind that it is."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis.llm.providers.faults import said_by
from miniagent_redis.llm.providers.kinds import kind_of


class APIStatusError(Exception):
    """As the SDKs have it, with the status and the body."""

    def __init__(self, status_code: int, body: Any) -> None:
        super().__init__(str(body))
        self.status_code = status_code
        self.body = body


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> Any:
    return {"message": message, "type": kind, "param": None, "code": code}


def anthropic(kind: str, message: str) -> Any:
    return {"type": "error", "error": {"type": kind, "message": message}}


REFUSALS: list[tuple[str, int, Any, str]] = [
    (
        "a request that no minute has room for",
        429,
        openai(
            "Request too large for gpt in organization o on tokens per min (TPM): Limit 30000, "
            "Requested 45000. The input or output tokens must be reduced.",
            "rate_limit_exceeded",
        ),
        "context_length",
    ),
    (
        "Groq's",
        413,
        openai(
            "Request too large for model x, please reduce your message size.", "rate_limit_exceeded"
        ),
        "context_length",
    ),
    ("a full minute", 429, openai("Limit 6000, Used 5000", "rate_limit_exceeded"), "rate_limit"),
    ("Bedrock's", 429, {"message": "Too many tokens, please wait."}, "rate_limit"),
    ("Bedrock's", 400, {"message": "The provided model identifier is invalid."}, "not_found"),
    ("an account", 429, openai("Your account is not active.", "billing_not_active"), "quota"),
    (
        "Azure's",
        403,
        {"code": "403", "message": "Out of call volume quota for this tier."},
        "quota",
    ),
    (
        "Anthropic's",
        400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits."),
        "quota",
    ),
    (
        "Anthropic's",
        400,
        anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 9"),
        "context_length",
    ),
    (
        "Anthropic's",
        400,
        anthropic(
            "invalid_request_error", "max_tokens: 99999 > 8192, the maximum of output tokens"
        ),
        "bad_request",
    ),
    ("OpenAI's", 400, openai("invalid model ID"), "not_found"),
    ("OpenAI's", 400, openai("Invalid prompt: it was flagged", "invalid_prompt"), "content_filter"),
    ("Mistral's", 400, {"message": "Invalid model: foo", "type": "invalid_model"}, "not_found"),
    ("DeepSeek's", 400, openai("Model Not Exist", "invalid_request_error"), "not_found"),
    ("DeepSeek's", 400, openai("Content Exists Risk"), "content_filter"),
    ("OpenRouter's", 400, {"message": "a/b is not a valid model ID", "code": 400}, "not_found"),
    (
        "OpenRouter's",
        403,
        {"message": "Your input was flagged for x", "code": 403},
        "content_filter",
    ),
    ("OpenRouter's", 403, {"message": "Key limit exceeded", "code": 403}, "quota"),
    ("Groq's", 400, openai("It is gone.", "model_decommissioned"), "not_found"),
    ("Groq's", 498, openai("Flex tier is full", "capacity_exceeded"), "overloaded"),
    (
        "xAI's",
        400,
        {"code": "An argument", "error": "This model's maximum prompt length is 8 but it has 9."},
        "context_length",
    ),
    ("xAI's", 403, {"code": "No", "error": "Your team doesn't have any credits yet."}, "quota"),
    ("xAI's", 429, {"code": "No", "error": "It has used all available credits."}, "quota"),
    (
        "Together's",
        422,
        openai("`inputs` tokens + `max_new_tokens` must be <= 8193."),
        "context_length",
    ),
    ("vLLM's", 400, openai("longer than the maximum model length of 4096"), "context_length"),
    (
        "llama.cpp's",
        500,
        {"message": "the request exceeds the available context size", "type": "server_error"},
        "context_length",
    ),
    ("LM Studio's", 400, {"error": "No models loaded. Please load one."}, "not_found"),
    ("Ollama's", 404, openai('model "x" not found', kind="api_error"), "not_found"),
    ("Ollama's", 400, openai("x does not support tools", kind="api_error"), "bad_request"),
    ("Ollama's", 401, openai("unauthorized", kind="api_error"), "auth"),
    ("Ollama's", 429, openai("hourly usage limit", kind="api_error"), "rate_limit"),
    ("LiteLLM's", 400, {"message": "Budget has been exceeded!", "type": "x"}, "quota"),
    ("LiteLLM's", 400, {"message": "Invalid model name passed in model=x"}, "not_found"),
    ("Moonshot's", 429, openai("It is overloaded", kind="engine_overloaded_error"), "overloaded"),
    ("Moonshot's", 429, openai("No.", kind="exceeded_current_quota_error"), "quota"),
    ("Qwen's", 400, openai("Not in good standing", "Arrearage"), "quota"),
    ("Qwen's", 400, openai("No.", "data_inspection_failed"), "content_filter"),
    ("Qwen's", 400, openai("Range of input length should be [1, 9]"), "context_length"),
    ("TGI's", 422, {"error": "`inputs` must have less than 1024 tokens."}, "context_length"),
    ("a proxy's", 407, "Proxy Authentication Required", "auth"),
    ("Cloudflare's", 524, "<html>A timeout occurred</html>", "timeout"),
]


@pytest.mark.parametrize(("who", "status", "body", "kind"), REFUSALS)
def test_a_documented_refusal_has_its_kind(who: str, status: int, body: Any, kind: str) -> None:
    assert kind_of(APIStatusError(status, body)) == kind, who


def test_who_was_asked_behind_openrouter_has_the_word() -> None:
    raw = '{"error": {"message": "prompt is too long"}}'
    body = {"code": 400, "message": "Provider returned error", "metadata": {"raw": raw}}
    error = APIStatusError(400, body)
    assert "prompt is too long" in said_by(error)
    assert kind_of(error) == "context_length"
