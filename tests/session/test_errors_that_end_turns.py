"""The error that ended a turn is gone once nobody holds it, and the turn's messages with it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
)
from miniagent_redis.llm import ModelEvent, ModelRequest, TextDelta
from tests.support.waiting import until


class Failing:
    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        raise OSError("gone")
        yield TextDelta("")


class FailingAtOnce(Failing):
    answers_at_once = True


class FailingAsync:
    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        raise OSError("gone")
        yield TextDelta("")


@pytest.mark.parametrize(
    "model", [Failing(), FailingAtOnce(), FailingAsync()], ids=lambda m: type(m).__name__
)
def test_a_model_s_error_needs_no_collection_to_be_gone(model: Any) -> None:
    def fail() -> weakref.ref[ModelError]:
        try:
            manager.chat(session_id, "Hi")
        except ModelError as exc:
            return weakref.ref(exc)
        raise AssertionError

    redis = RedisConfig(url="memory://")
    with SessionAgent(AgentConfig(model=model), redis_config=redis) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        fail()
        gc.disable()
        try:
            error = fail()
            until(lambda: error() is None)
        finally:
            gc.enable()
