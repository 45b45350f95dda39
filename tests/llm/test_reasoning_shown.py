"""Reasoning is told while it comes: to who streams the turn, and to who watches it elsewhere."""

from __future__ import annotations

import pytest

from miniagent_redis import AgentConfig, EventType, RedisConfig, SessionAgent, SessionManager
from tests.support.canned_server import CannedServer
from tests.support.provider_replies import PROVIDERS, name, said, thought

TOLD = (EventType.REASONING_DELTA, EventType.TEXT_DELTA)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_is_told_live_and_watched_and_is_no_part_of_the_answer(
    provider: str, canned: CannedServer, redis_url: str
) -> None:
    reply = said(provider, "42")
    if provider == "anthropic":
        start, *events = thought(provider)
        stop = {"type": "content_block_stop", "index": 0}
        canned.add(start, *events, stop, *reply[1:])
    else:
        canned.add(*thought(provider), *reply)
    config = AgentConfig(model=name(provider, canned), delta_interval=0)
    with SessionAgent(config, redis_config=RedisConfig(url=redis_url)) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        live = list(manager.stream(session_id, "?", turn_id="t"))
        watched = list(manager.watch(session_id, turn_id="t"))
        answer = manager.get_history(session_id)[-1]
    expected = [(EventType.REASONING_DELTA, "Hm. "), (EventType.TEXT_DELTA, "42")]
    for events in (live, watched):
        assert [(event.type, event.text) for event in events if event.type in TOLD] == expected
    assert (live[-1].text, answer["content"]) == ("42", "42")
