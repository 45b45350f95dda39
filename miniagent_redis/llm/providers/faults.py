"""What an error of a vendor's SDK says: its kind, the vendor's own words, how long to wait.

By names and words and not by classes, since the SDKs are imported late, and let errors of several
HTTP libraries through.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite, isnan
from typing import Any

from ...errors import ModelErrorKind

# The vendors' own codes, which say more than the status.
_CODES: dict[ModelErrorKind, tuple[str, ...]] = {
    "auth": ("invalid_api_key", "authentication_error", "permission_error", "unauthenticated"),
    "quota": ("insufficient_quota", "billing_error", "billing_hard_limit_reached"),
    "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
    "overloaded": ("overloaded_error", "unavailable", "server_error", "api_error", "internal"),
    "context_length": ("context_length_exceeded", "request_too_large"),
    "not_found": ("not_found_error", "model_not_found", "not_found"),
    "content_filter": ("content_filter", "content_policy_violation"),
    "timeout": ("timeout_error", "deadline_exceeded"),
}
_BY_CODE: dict[str, ModelErrorKind] = {
    code: kind for kind, codes in _CODES.items() for code in codes
}
# Where there is no code of its own for it, as with Anthropic, Google and most imitators.
_WORDS: tuple[tuple[ModelErrorKind, str], ...] = (
    (
        "context_length",
        r"context (length|window|size)|maximum context|(prompt|input) is too long"
        r"|too many (input )?tokens|token count .*exceeds|reduce the length",
    ),
    (
        "not_found",
        r"unexpected endpoint|^it sent a page|unknown (endpoint|url|path|model)|no such model"
        r"|(model|endpoint|path|url|page)\b.{0,80}\b(not found|does not exist)",
    ),
    ("quota", r"credit balance|insufficient (credits|balance|funds)|quota.{0,40}billing"),
    ("auth", r"api.?key.{0,20}(not valid|invalid|expired)|(invalid|incorrect) api.?key"),
    ("content_filter", r"content.?(filter|management policy|policy)|safety system"),
)
# Where servers say what went wrong; the last ones are of Baidu, MiniMax and Tencent.
_SAYING = (
    *("error", "message", "detail", "msg", "errors", "reason", "error_msg"),
    *("base_resp", "status_msg", "Response", "Error", "Message"),
)
_WAIT = re.compile(
    r"(?:try|retry)(?: again)? (?:in|after) (?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?) ?(ms|s))?"
)
# Ollama's and llama.cpp's, of what a model wrote in place of a call; Groq has a code for it.
_UNREAD = r"error parsing tool call|failed to parse (input at pos|tool call)"
_STATUS: dict[int, ModelErrorKind] = {
    401: "auth",
    402: "quota",
    403: "auth",
    404: "not_found",
    408: "timeout",
    409: "overloaded",
    413: "context_length",
    429: "rate_limit",
    504: "timeout",
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
        return "bad_reply"
    if status == 429 and "PerDay" in str(getattr(exc, "details", "")):
        return "quota"  # so Google says for which time it is used up
    kind: ModelErrorKind | None = _BY_CODE.get(code_of(exc).lower())
    if kind is None and (status is None or 400 <= status < 500) and status != 429:
        kind = _told_in_words(said_by(exc))
    if status is None:
        return kind or "bad_request"
    other: ModelErrorKind = "bad_request" if status < 500 else "overloaded"
    return kind or _STATUS.get(status, other)


def is_unread_call(exc: Exception) -> bool:
    """Whether a server says that its model wrote a call which it could not read itself."""
    said = said_by(exc)
    return code_of(exc) == "tool_use_failed" or re.search(_UNREAD, said, re.IGNORECASE) is not None


def _told_in_words(said: str) -> ModelErrorKind | None:
    for kind, words in _WORDS:
        if re.search(words, said, re.IGNORECASE):
            return kind
    return None


def told_status(exc: Exception) -> int | None:
    """Return the HTTP status that the vendor told, if it did."""
    for status in (getattr(exc, "status_code", None), getattr(exc, "code", None)):
        if isinstance(status, int) and status >= 400:
            return status
    return None


def status_of(exc: Exception) -> int | None:
    """Return the HTTP status that the error tells; 500 for one that came within the stream."""
    if (told := told_status(exc)) is not None:
        return told
    names = ("APIError", "APIStatusError", "ToldError")
    is_told = type(exc).__name__ in names and not getattr(exc, "is_whole", False)
    return 500 if is_told else None


def code_of(exc: Exception) -> str:
    """Return the vendor's own code, such as ``insufficient_quota``; empty if it has none."""
    body = getattr(exc, "body", None)
    error = body.get("error", body) if isinstance(body, Mapping) else None
    said: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    codes = (said.get("code"), said.get("type"), getattr(exc, "status", None))
    return next((code for code in codes if isinstance(code, str) and code), "")


def said_by(exc: Exception) -> str:
    """Return the vendor's own words."""
    message = _said_in(getattr(exc, "body", None)) or getattr(exc, "message", None) or exc
    said = " ".join(str(message).split())
    said = said or type(exc).__name__
    status = status_of(exc)
    return said if status is None else f"{status}: {said}"


def _said_in(body: Any) -> str:
    """Return the text in a body that tells of an error: each server has its own place for it."""
    if isinstance(body, str):
        return body
    if isinstance(body, Mapping):
        for key in _SAYING:
            if said := _said_in(body.get(key)):
                return said
    if isinstance(body, list):  # FastAPI's, of what does not fit
        return "; ".join(filter(None, map(_said_in, body)))
    return ""


def retry_after(exc: Exception) -> float | None:
    """Return the seconds to wait, from the headers, Google's RetryInfo, or the words of a 429."""
    told = told_to_wait(getattr(getattr(exc, "response", None), "headers", None) or {})
    if told is not None:
        return told
    found = re.search(r"'retryDelay': '(\d+(?:\.\d+)?)s'", str(getattr(exc, "details", "")))
    if found:
        return float(found[1])
    words = _WAIT.search(said_by(exc)) if status_of(exc) == 429 else None
    if words is None or not any(words.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in words.groups()[:3])
    return hours * 3600 + minutes * 60 + (seconds / 1000 if words[4] == "ms" else seconds)


def told_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that headers tell to wait (RFC 9110: a number or a date), if they do."""
    told = headers.get("retry-after") or ""
    try:
        seconds = float(headers.get("retry-after-ms") or "nan") / 1000
        if isnan(seconds):
            seconds = float(told) if told[:1].isdigit() else _seconds_until(told)
    except ValueError:
        return None
    return max(seconds, 0.0) if isfinite(seconds) else None


def _seconds_until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()


def only_short_waits(response: Any) -> None:
    """Forbid the SDK a retry for which it would wait longer than the model may keep silent.

    A hook for the responses of its HTTP client; it knows this header, and sleeps unheeding.
    """
    wait = told_to_wait(response.headers)
    limit = response.request.extensions.get("timeout", {}).get("read")
    if wait is not None and limit is not None and wait > limit:
        response.headers["x-should-retry"] = "false"
