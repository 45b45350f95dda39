"""Of which kind an error of a vendor's is: by its code, or else its words, or else its status."""

from __future__ import annotations

import re

from ...errors import ModelErrorKind
from .faults import code_of, codes_of, said_by, status_of, told_status

# The vendors' own codes, which say more than the status.
_CODES: dict[ModelErrorKind, tuple[str, ...]] = {
    "auth": ("invalid_api_key", "authentication_error", "permission_error", "unauthenticated"),
    "quota": (
        *("insufficient_quota", "billing_error", "billing_hard_limit_reached"),
        *("billing_not_active", "exceeded_current_quota_error", "budget_exceeded", "arrearage"),
    ),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "overloaded": (
        *("overloaded_error", "engine_overloaded_error", "capacity_exceeded", "unavailable"),
        *("server_error", "api_error", "internal"),
    ),
    "context_length": (
        *("context_length_exceeded", "request_too_large", "string_above_max_length"),
        "exceed_context_size_error",
    ),
    "not_found": (
        *("not_found_error", "model_not_found", "not_found", "invalid_model"),
        *("model_decommissioned", "model_not_available"),
    ),
    "content_filter": (
        *("content_filter", "content_policy_violation", "image_content_policy_violation"),
        *("moderation_blocked", "data_inspection_failed"),
    ),
    "timeout": ("timeout_error", "deadline_exceeded"),
}
_BY_CODE: dict[str, ModelErrorKind] = {
    code: kind for kind, codes in _CODES.items() for code in codes
}
_VAGUE = ("server_error", "api_error", "internal")  # Ollama's, beside any status
# Where there is no code of its own for it, as with Anthropic, Google and most imitators.
_TOO_LONG = r"request too large|reduce your message size|tokens must be reduced"
_NO_MONEY = (
    r"credit balance|insufficient (credits|balance|funds)|(available|any|more) credits"
    r"|spending limit|account is (suspended|not active)"
)
_WORDS: tuple[tuple[ModelErrorKind, str], ...] = (
    (
        "context_length",
        rf"context (length|window|size|limit)|maximum (context|prompt|model) ?length|{_TOO_LONG}"
        r"|(prompt|input) is too long|too many (input )?tokens|token count .*exceeds"
        r"|reduce the length|range of input length|max_new_tokens|less than \d+ tokens",
    ),
    (
        "not_found",
        r"unexpected endpoint|^it sent a page|(unknown|invalid) (endpoint|url|path|model)\b"
        r"|no such model|no models? (is )?loaded|model identifier is invalid"
        r"|(model|endpoint|path|url|page)\b.{0,80}\b(not found|(does )?not exist|decommissioned)"
        r"|not a valid model",
    ),
    (
        "quota",
        rf"{_NO_MONEY}|quota.{{0,40}}billing|out of .{{0,20}}quota|api usage limit"
        r"|key limit exceeded|budget has been exceeded|account is in good standing",
    ),
    ("auth", r"api.?key.{0,20}(not valid|invalid|expired)|(invalid|incorrect) api.?key"),
    ("auth", r"location is not supported"),
    (
        "content_filter",
        r"content.?(filter|management policy|policy)|safety system|(was|been) flagged|usage policy"
        r"|content exists risk|inappropriate content",
    ),
)
# Of these, what a 429 may say that is not passing; others say it of any limit.
_WORDS_OF_429: tuple[tuple[ModelErrorKind, str], ...] = (
    ("context_length", _TOO_LONG),
    ("quota", _NO_MONEY),
    ("overloaded", r"overloaded"),
)
_STATUS: dict[int, ModelErrorKind] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    407: "auth",
    408: "timeout",
    409: "overloaded",
    413: "context_length",
    429: "rate_limit",
    498: "overloaded",
    504: "timeout",
    524: "timeout",
}


def kind_of(exc: Exception) -> ModelErrorKind:
    """Return the kind of ModelError that it is."""
    names = {each.__name__ for each in type(exc).__mro__}
    if names & {"APITimeoutError", "TimeoutException"}:
        return "timeout"
    if names & {"APIConnectionError", "TransportError", "NetworkError", "ProtocolError"}:
        return "connection"
    if isinstance(exc, ConnectionError):
        return "connection"
    status = status_of(exc)
    if status is None and not getattr(exc, "is_whole", False):
        is_page = re.search(r"Raw response: \s*<", str(exc))  # in words of Google's SDK
        return "not_found" if is_page else "bad_reply"
    if status == 429 and "PerDay" in str(getattr(exc, "details", "")):
        return "quota"  # so Google says for which time it is used up
    kind = _told_by_code(exc, status) or _told_in_words(exc, status)
    if kind is not None:
        return kind
    if status is None or (told_status(exc) is None and code_of(exc).startswith("invalid")):
        return "bad_request"
    return _STATUS.get(status, "bad_request" if status < 500 else "overloaded")


def _told_by_code(exc: Exception, status: int | None) -> ModelErrorKind | None:
    codes = [code.lower() for code in codes_of(exc)]
    if status is not None:
        codes = [code for code in codes if code not in _VAGUE]
    kind: ModelErrorKind | None = next((_BY_CODE[one] for one in codes if one in _BY_CODE), None)
    if kind == "rate_limit":
        return _told_in(_WORDS_OF_429, exc) or "rate_limit"
    return kind


def _told_in_words(exc: Exception, status: int | None) -> ModelErrorKind | None:
    if status == 429:
        return _told_in(_WORDS_OF_429, exc)
    kind = _told_in(_WORDS, exc)
    # A failure of the server's is what it says it is, but for one thing that llama.cpp tells so.
    return kind if status is None or status < 500 or kind == "context_length" else None


def _told_in(
    table: tuple[tuple[ModelErrorKind, str], ...], exc: Exception
) -> ModelErrorKind | None:
    said = said_by(exc)
    for kind, words in table:
        if re.search(words, said, re.IGNORECASE):
            return kind
    return None
