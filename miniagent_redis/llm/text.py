"""Text as models see it: cut into words for streaming, and counted."""

from __future__ import annotations

import re

from .base import ModelRequest

_WORDS = re.compile(r"\s*\S+|\s+")


def words(text: str) -> list[str]:
    """Cut text into pieces of one word each, with the space before it; nothing is lost."""
    return _WORDS.findall(text)


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text: a quarter of its characters, at least one if there are any.

    Good to a third for English prose; tokenizers proper download tables at run time.
    """
    return -(-len(text) // 4)


def estimate_input(request: ModelRequest) -> int:
    """Estimate the tokens that a request costs."""
    parts = [request.system or "", *(message.text for message in request.messages)]
    return sum(map(estimate_tokens, parts))
