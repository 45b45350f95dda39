"""Text as models see it: cut into words for streaming, and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from ..models import Message
from .base import ModelRequest, ToolSpec

_WORDS = re.compile(r"\s*\S+|\s+")
MESSAGE_TOKENS = 4  # that vendors add to each message, for its role and its borders
PART_TOKENS = 1_000  # for an image or the like: vendors charge 250 to 1,600

CountTokens = Callable[[str], int]


def words(text: str) -> list[str]:
    """Cut text into pieces of one word each, with the space before it; nothing is lost."""
    return _WORDS.findall(text)


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: a quarter of its bytes, at least one if there are any.

    Good to a third for English prose; tokenizers proper download tables at run time. Bytes and
    not characters, because one character of Chinese is about one token.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // 4)


def message_tokens(message: Message, count: CountTokens = estimate_tokens) -> int:
    """Count what one message costs: its text, tool calls, other parts and surroundings."""
    tokens = MESSAGE_TOKENS + count(message.text)
    if not isinstance(message.content, str):
        tokens += PART_TOKENS * sum("text" not in part for part in message.content)
    for call in message.tool_calls:
        tokens += MESSAGE_TOKENS + count(call.name) + count(_as_json(call.arguments))
    return tokens


def instruction_tokens(
    system: str | None, tools: Iterable[ToolSpec], count: CountTokens = estimate_tokens
) -> int:
    """Count what comes with every request: the system prompt, and what is told of the tools."""
    tokens = MESSAGE_TOKENS + count(system) if system else 0
    for tool in tools:
        parts = (tool.name, tool.description, _as_json(tool.parameters))
        tokens += MESSAGE_TOKENS + sum(map(count, parts))
    return tokens


def estimate_input(request: ModelRequest) -> int:
    """Estimate the tokens that a request costs."""
    messages = sum(map(message_tokens, request.messages))
    return instruction_tokens(request.system, request.tools) + messages


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
