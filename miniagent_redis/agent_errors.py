"""Errors of models, tools and of what may be spent; the tree of all is in errors.py."""

from __future__ import annotations

from typing import Literal

from .error_base import MiniAgentError


class RateLimited(MiniAgentError):
    """The caller is over its limit; nothing was counted, and the model was not asked.

    ``retry_after`` is seconds until a call can succeed. ``key`` says whose limit it is, ``rule``
    is the RateLimit.
    """

    def __init__(
        self,
        key: str,
        retry_after: float,
        rule: object = None,
        *,
        problem: str = "",
        cause: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(
            problem or f"rate limit reached for {key!r}",
            cause=cause or ("" if rule is None else f"of {rule}"),
            hint=hint or f"try again in {retry_after:.3f} s",
        )
        self.key = key
        self.retry_after = retry_after
        self.rule = rule


class BudgetExceeded(MiniAgentError):
    """Too little is left of a budget for the next request; the model was not asked.

    ``left`` is how much there is, in ``unit`` (``tokens`` or ``USD``); ``retry_after`` in how many
    seconds the ``budget`` begins anew, or None. What the turn did by then is stored as interrupted.
    """

    def __init__(self, budget: object, left: float, unit: str, retry_after: float | None) -> None:
        anew = "" if retry_after is None else f"it begins anew in {retry_after:.0f} s; or "
        hint = f"{anew}raise it, or lower AgentConfig.max_tokens"
        super().__init__(f"{left:,} {unit} are left", cause=f"the budget is {budget}", hint=hint)
        self.budget = budget
        self.left = left
        self.unit = unit
        self.retry_after = retry_after


ModelErrorKind = Literal[
    "auth", "quota", "rate_limit", "overloaded", "context_length", "bad_request", "not_found",
    "content_filter", "timeout", "connection", "bad_reply",
]  # fmt: skip


class ModelError(MiniAgentError):
    """The model could not answer: refused, failed, timed out or misconfigured.

    ``kind`` is what it was, in one word (``bad_reply`` also if nobody knows), ``status`` the HTTP
    status, ``code`` the vendor's own word, ``retry_after`` the seconds until a request is taken
    again, where there are some. ``tokens`` are those of ``Usage``, of the reply that was of no use.
    """

    kind: ModelErrorKind = "bad_reply"
    status: int | None = None
    code: str = ""
    retry_after: float | None = None
    tokens: tuple[int, ...] = (0, 0, 0)


class IncompleteResponse(ModelError):
    """The model's answer ended without its finish mark. ``text`` is what had arrived."""

    def __init__(self, problem: str, *, text: str = "", cause: str = "", hint: str = "") -> None:
        super().__init__(problem, cause=cause, hint=hint)
        self.text = text


class ToolError(MiniAgentError):
    """Raise it in a tool to send the model a clear failure; the turn goes on."""
