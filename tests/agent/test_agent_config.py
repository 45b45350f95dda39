"""An agent's settings are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis.agent import AgentConfig
from miniagent_redis.errors import InvalidInput


def test_the_defaults_need_nothing() -> None:
    config = AgentConfig()
    assert (config.name, config.model, config.max_steps) == ("assistant", "demo", 20)
    assert (config.on_busy, config.busy_timeout) == ("wait", 30.0)


def test_only_what_is_set_is_sent_to_the_model() -> None:
    assert AgentConfig().params == {}
    assert AgentConfig(temperature=0, max_tokens=5).params == {"temperature": 0, "max_tokens": 5}


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"name": ""}, "name must be text and not empty"),
        ({"system_prompt": None}, "system_prompt must be text"),
        ({"temperature": -1}, "temperature must be a number of at least 0, not -1"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"max_tokens": 0}, "max_tokens must be a whole number of at least 1"),
        ({"max_steps": 1.5}, "max_steps must be a whole number"),
        ({"max_steps": None}, "max_steps must be a whole number"),
        ({"max_steps": True}, "max_steps must be a whole number"),
        ({"tool_timeout": 0}, "tool_timeout must be a number above 0"),
        ({"reader_timeout": 0}, "reader_timeout must be a number above 0"),
        ({"model_timeout": float("nan")}, "model_timeout must be a number above 0"),
        ({"max_context_tokens": 0}, "max_context_tokens must be a whole number of at least 1"),
        ({"max_context_messages": 1.5}, "max_context_messages must be a whole number"),
        ({"max_tool_result": None}, "max_tool_result must be a whole number"),
        ({"count_tokens": 4}, "count_tokens must be a function from text to a number, not 4"),
        ({"model_cache_ttl": float("inf")}, "model_cache_ttl may be 1e\\+09 at the most"),
        ({"rate_limits": 5}, "rate_limits must be a list of RateLimit"),
        ({"rate_limits": [5]}, "each of rate_limits must be a RateLimit, not an int"),
        ({"busy_timeout": -1}, "busy_timeout must be a number of at least 0"),
        ({"on_busy": "panic"}, "on_busy must be one of 'wait', 'reject', 'interrupt'"),
    ],
)
def test_what_cannot_be_is_refused(setting: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        AgentConfig(**setting)
