"""What each provider would be sent for some messages."""

from __future__ import annotations

from typing import Any

from miniagent_redis.llm import ModelRequest
from miniagent_redis.llm.gemini import gemini_contents
from miniagent_redis.llm.providers.anthropic_requests import anthropic_messages
from miniagent_redis.llm.providers.chat_requests import chat_messages
from miniagent_redis.models import Message


def openai(*messages: Message, system: str | None = None) -> list[dict[str, Any]]:
    return chat_messages(ModelRequest(messages, system=system), "openai")


def anthropic(*messages: Message, system: str | None = None) -> tuple[str, list[dict[str, Any]]]:
    return anthropic_messages(ModelRequest(messages, system=system), "anthropic")


def gemini(*messages: Message, model: str = "gemini-3") -> tuple[str, list[dict[str, Any]]]:
    return gemini_contents(ModelRequest(messages), model)


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}
