"""A piece of an answer that may have been told is neither missed nor told twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StoreUnavailable,
    TurnUncertain,
)
from miniagent_redis.llm import (
    Finish,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    ScriptedModel,
    TextDelta,
)


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (TurnUncertain("s", "t", "lost"), True),
        (TurnUncertain("s", "t", "lost"), False),
        (StoreUnavailable("away"), False),
    ],
)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_it_is_told_once(
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    is_told: bool,
    place: int,
) -> None:
    config = AgentConfig(model=ScriptedModel(["one two three four"]), delta_interval=0)
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager, tell, calls = SessionManager(agent), agent.store.tell_text, 0

        def tell_text(*args: Any, **given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == place:
                if is_told:
                    tell(*args, **given)
                raise error
            return tell(*args, **given)

        monkeypatch.setattr(agent.store, "tell_text", tell_text)
        manager.create_or_resume_session(session_id="s")
        assert manager.chat("s", "Hello") == "one two three four"
        found = agent.store.read_events("s", "")
    told = [event.text for event in found if event.type is EventType.TEXT_DELTA]
    assert calls > place
    assert "".join(told) == "one two three four"


class Thinker:
    """Thinks before it answers."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield ReasoningDelta("hm ")
        yield ReasoningDelta("hm")
        yield TextDelta("one ")
        yield TextDelta("two")
        yield Finish()


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_what_could_not_be_told_stays_before_what_comes_later(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, tries: int
) -> None:
    config = AgentConfig(model=Thinker(), delta_interval=0)
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager, tell, failed = SessionManager(agent), agent.store.tell_text, 0

        def tell_text(*args: Any, **given: Any) -> Any:
            nonlocal failed
            if failed < tries:
                failed += 1
                raise StoreUnavailable("away")
            return tell(*args, **given)

        monkeypatch.setattr(agent.store, "tell_text", tell_text)
        manager.create_or_resume_session(session_id="s")
        manager.chat("s", "Hello")
        found = agent.store.read_events("s", "")
    kinds = (EventType.REASONING_DELTA, EventType.TEXT_DELTA)
    assert "".join(event.text for event in found if event.type in kinds) == "hm hmone two"
