"""What an error of a vendor's SDK says: its status, the vendor's own words, how long to wait.

By names and words and not by classes, since the SDKs are imported late, and let errors of several
HTTP libraries through.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from math import isfinite, isnan
from typing import Any

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


def is_lost(exc: Exception) -> bool:
    """Whether a connection broke behind the request."""
    return type(exc).__name__ in ("RemoteProtocolError", "ReadError", "WriteError")


def is_unread_call(exc: Exception) -> bool:
    """Whether a server says that its model wrote a call which it could not read itself."""
    said = said_by(exc)
    return code_of(exc) == "tool_use_failed" or re.search(_UNREAD, said, re.IGNORECASE) is not None


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
    return next(codes_of(exc), "")


def codes_of(exc: Exception) -> Iterator[str]:
    """Yield all codes that it tells, the most exact first."""
    body = getattr(exc, "body", None)
    inner = body.get("error") if isinstance(body, Mapping) else None
    said: Any = inner if isinstance(inner, Mapping) else body
    told = (said.get("code"), said.get("type")) if isinstance(said, Mapping) else ()
    for code in (*told, getattr(exc, "status", None)):
        if isinstance(code, str) and code:
            yield code


def said_by(exc: Exception) -> str:
    """Return the vendor's own words."""
    message = _said_in(getattr(exc, "body", None)) or getattr(exc, "message", None) or exc
    if type(exc).__name__ == "APIConnectionError" and exc.__cause__ is not None:
        message = exc.__cause__  # of itself it says no more than "Connection error."
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
                about = body.get("metadata")  # OpenRouter's, with the words of who was asked
                raw = about.get("raw") if isinstance(about, Mapping) else None
                return f"{said}: {raw}" if isinstance(raw, str) else said
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
