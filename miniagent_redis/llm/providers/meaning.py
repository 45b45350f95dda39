"""What an error of a vendor's means to people: the problem, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import ModelErrorKind
from ..base import ModelRequest
from .faults import retry_after, status_of
from .kinds import kind_of

AGAIN = "send the message again"


def meaning_of(
    exc: Exception, name: str, keys: Sequence[str], request: ModelRequest, *, is_answering: bool
) -> tuple[ModelErrorKind, str, str]:
    """Return its kind, the problem, and what to do about it; ``keys`` are variables of keys."""
    if isinstance(exc, TypeError) and not is_answering:
        return "bad_request", f"{name} cannot be asked like this", "check the options of the model"
    kind = kind_of(exc)
    match kind:
        case "timeout" if status_of(exc) is None:
            limit = request.timeout if is_answering else request.longest_wait
            waited = f" within {limit:g} s" if limit else ""
            return kind, f"{name} did not answer{waited}", "raise AgentConfig.model_timeout"
        case "connection":
            return kind, f"the connection to {name} failed", "check the network and the address"
        case "auth":
            hint = f"check {' or '.join(keys)}, and what the key may do"
            return kind, f"{name} refused the key", hint
        case "quota":
            return kind, f"what {name} may be asked is used up", "check plan and billing"
        case "not_found":
            return kind, f"{name} was not found", "check the name of the model and the address"
        case "rate_limit":
            wait = retry_after(exc)
            when = "later" if wait is None else f"in {wait:g} s"
            return kind, f"{name} takes no more requests for now", f"{AGAIN} {when}"
        case "context_length":
            problem = f"the conversation is too long for {name}"
            return kind, problem, "set AgentConfig.max_context_tokens"
        case "content_filter":
            return kind, f"{name} refused what was said", "say it in other words"
        case "bad_request":
            hint = "check the options of the model; if the conversation is too long for it, set "
            return kind, f"{name} refused the request", hint + "AgentConfig.max_context_tokens"
        case "bad_reply":
            return kind, f"{name} sent what cannot be read", AGAIN
    return kind, f"{name} failed", AGAIN
