"""Small words for the store's tests: messages, the thread as lines, soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from miniagent_redis.errors import MiniAgentError
from miniagent_redis.models import Message, ToolCall
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.waiting import until as until

E = TypeVar("E", bound=MiniAgentError)
_SOON = 3.0  # seconds: about one is promised, and this machine may be busy
OpenStore = Callable[..., RedisSessionManager]
"""Opens another store on the same data, with settings of its own."""


def said(text: str) -> Message:
    return Message("assistant", text)


def call(*call_ids: str) -> Message:
    calls = tuple(ToolCall(call_id, "tool", {"of": call_id}) for call_id in call_ids)
    return Message("assistant", "", tool_calls=calls)


def result(call_id: str, text: str = "ok") -> Message:
    return Message("tool", text, tool_call_id=call_id, name="tool")


def lines(store: RedisSessionManager, session_id: str = "s") -> list[str]:
    """Return the stored thread, each message as ``role:text``."""
    return [f"{m.role}:{m.text}" for m in store.load_thread(session_id).messages]


def soon(kind: type[E], action: Callable[[], object]) -> E:
    """Return the error that the call raises, in about a second."""
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        action()
    assert time.monotonic() - began < _SOON
    return caught.value
