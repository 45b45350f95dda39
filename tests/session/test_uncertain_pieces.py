"""A piece of an answer that may have been told is neither missed nor told twice."""

from __future__ import annotations

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
from miniagent_redis.llm import ScriptedModel


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
