"""What a server that refused a request wants instead, if it says so.

Such a refusal comes before anything is done, so it costs nothing; and the next request begins with
what is known by then. What nobody can guess by a name is learned so: which API, which parameters.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve, frozen

from .faults import said_by, told_status

_RESPONSES = re.compile(r"v1/responses|responses api|chatCompletion operation does not work", re.I)
_NO_REASONING = re.compile(r"reasoning_effort.{0,20}none", re.I)
_NO_STREAM = re.compile(
    r"verified to stream|(cannot|can't|not support\w*|unsupported|not allow\w*).{0,40}\bstream"
    r"|\bstream(ing)?\b.{0,60}(not|n't|un)\s?(be\s)?(support|allow|available|enabled)",
    re.I,
)
_NO_ENCRYPTED = re.compile(r"encrypted.?content.{0,40}not supported", re.I)
_NEW_LIMIT = re.compile(r"max_completion_tokens", re.I)
_NO_STREAM_OPTIONS = re.compile(r"stream_options", re.I)


@frozen
class Way:
    """How a server is asked. ``responses`` is by that API, None if it was not said."""

    responses: bool | None = None
    no_reasoning: bool = False
    no_stream: bool = False
    no_stream_options: bool = False
    no_encrypted: bool = False
    new_limit: bool = False

    def params(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of chat completions as they are taken."""
        out = dict(params)
        if self.new_limit and "max_tokens" in out:
            out["max_completion_tokens"] = out.pop("max_tokens")
        if self.no_reasoning and out.get("tools"):
            out["reasoning_effort"] = "none"
        if self.no_stream or self.no_stream_options or out.get("stream") is False:
            out.pop("stream_options", None)
        if self.no_stream:
            out["stream"] = False
        return out


def reconsidered(way: Way, exc: Exception, *, asked_responses: bool, is_forced: bool) -> Way:
    """Return another way to ask, or the same if what the server said names none.

    ``is_forced``: which API is asked was said by the caller, and stays.
    """
    status = told_status(exc)
    if status is None or not 400 <= status < 500 or status in (401, 403, 408, 429):
        return way
    said = said_by(exc)
    if _param(exc) == "stream" or (_NO_STREAM.search(said) and "stream_options" not in said):
        return evolve(way, no_stream=True)
    if asked_responses:
        if _NO_ENCRYPTED.search(said):
            return evolve(way, no_encrypted=True)
        if is_forced:
            return way
        if (
            status not in (404, 405)
            and not _RESPONSES.search(said)
            and not _NO_REASONING.search(said)
        ):
            return way
        # Who speaks of that API and does not have it: a gateway that has chat completions only.
        return evolve(way, responses=False, no_reasoning=way.no_reasoning or way.responses is True)
    if _RESPONSES.search(said) and not is_forced and way.responses is None:
        return evolve(way, responses=True)
    if _NO_REASONING.search(said) and not is_forced:
        return evolve(way, no_reasoning=True)
    if _NEW_LIMIT.search(said) and "max_tokens" in said:
        return evolve(way, new_limit=True)
    if _NO_STREAM_OPTIONS.search(said):
        return evolve(way, no_stream_options=True)
    return way


def _param(exc: Exception) -> str:
    body = getattr(exc, "body", None)
    error = body.get("error", body) if isinstance(body, dict) else None
    param = error.get("param") if isinstance(error, dict) else None
    return param if isinstance(param, str) else ""
