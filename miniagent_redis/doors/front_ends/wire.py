"""What both protocols say alike: ids of replies and questions, results of tools, tokens."""

from __future__ import annotations

from typing import Any

from ...models import Usage
from ...store.answers import DENIED

Json = dict[str, Any]


def reply_id(turn_id: str, number: int) -> str:
    """Return the id by which pages know a reply of a turn; the first one has the number 1."""
    return f"{turn_id}-{number}"


def question_id(turn_id: str, call_id: str) -> str:
    """Return the id of the question whether a call may be run, or of what its tool asks."""
    return f"{turn_id}/{call_id}"


def is_denied(result: Json, call: Json | None) -> bool:
    """Whether a result says that a call was not approved."""
    waited = call is not None and call.get("waits_for") == "approval"
    return waited and bool(result.get("is_error")) and str(result["content"]).startswith(DENIED)


def output_text(content: object) -> str:
    """Return the text of a result, with what is no text named."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", f"[{part.get('type', 'something')}]")) for part in parts)


def usage_object(usage: Usage) -> Json:
    """Return tokens by the names that both have."""
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "reasoningTokens": usage.reasoning_tokens,
        "cachedInputTokens": usage.cached_tokens,
    }
