"""Caching in whole turns: shared by all instances, private to users, and never in the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    StreamCallback,
    ToolCall,
    ToolRegistry,
    Usage,
)
from miniagent_redis.llm import Finish, ScriptedModel
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]
LIMIT = 20  # seconds
ASK = ToolCall("call", "look", {"what": "x"})


class Look:
    """A tool that counts its runs."""

    def __init__(self, **options: Any) -> None:
        self.runs = 0
        self.tools = ToolRegistry()
        self.tools.add(self.look, cache_ttl=60, **options)

    def look(self, what: str) -> str:
        self.runs += 1
        return f"{what} {self.runs}"


def named(*replies: Any) -> Any:
    model: Any = ScriptedModel(replies)
    model.name = "scripted"
    return model


def test_instances_share_what_a_user_has_got(open_manager: Open) -> None:
    look = Look()
    results: list[Any] = []
    for user in ("ada", "ada", "eve"):
        manager = open_manager(ScriptedModel([ASK, "Done"]), look.tools)
        session_id = manager.create_or_resume_session(user)
        results.append(manager.run(session_id, "Look!"))  # without naming the user again
    assert [result.steps[1].text for result in results] == ["x 1", "x 1", "x 2"]
    assert [result.cache_hits for result in results] == [0, 1, 0]
    stored = manager.get_history(session_id)[2]
    assert "metadata" not in stored


def test_a_hit_is_told_and_stored(open_manager: Open) -> None:
    look, callbacks = Look(shared=True), StreamCallback()
    told: list[Event] = []
    callbacks.on(EventType.CACHE_HIT, told.append)
    callbacks.on(EventType.CACHE_MISS, told.append)
    manager = open_manager(ScriptedModel([ASK, "Done"] * 2), look.tools, callbacks=callbacks)
    first, second = (manager.create_or_resume_session() for _ in range(2))
    manager.chat(first, "Look!")
    manager.chat(second, "Look!")
    assert [event.type for event in told] == [EventType.CACHE_MISS, EventType.CACHE_HIT]
    assert told[1].session_id == second
    assert manager.get_history(second)[2]["metadata"]["cached"] is True
    stats = manager.store.cache_stats
    assert (stats.hits, stats.misses, stats.failures) == (1, 1, 0)


def test_a_cached_reply_costs_nothing_and_streams(open_manager: Open) -> None:
    replies = ["Hel", "lo", Usage(7, 3)]
    manager = open_manager(named(replies), model_cache_ttl=60)
    first = manager.run(manager.create_or_resume_session("ada"), "Hi")
    other = open_manager(named(), model_cache_ttl=60)
    session_id = other.create_or_resume_session("ada")
    events = list(other.stream(session_id, "Hi"))
    assert "".join(e.text for e in events if e.type is EventType.TEXT_DELTA) == "Hello"
    assert first.usage == Usage(7, 3)
    answer = other.get_history(session_id)[-1]
    assert answer["metadata"].keys() == {"cached", "saved_seconds", "saved_tokens"}
    assert answer["metadata"]["saved_tokens"] == 10


def test_two_who_ask_the_model_the_same_at_once_share_its_answer(open_manager: Open) -> None:
    asked, waits = threading.Event(), threading.Event()

    class Slow:
        name = "slow"

        def __init__(self) -> None:
            self.calls = 0

        def stream(self, request: Any) -> Any:
            self.calls += 1
            asked.set()
            assert waits.wait(LIMIT)
            yield from (Usage(1, 1), *ScriptedModel(["Hello"]).stream(request))

    model = Slow()
    managers = [open_manager(model, model_cache_ttl=60) for _ in range(2)]
    sessions = [manager.create_or_resume_session("ada") for manager in managers]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(managers[0].run, sessions[0], "Hi")
        assert asked.wait(LIMIT)
        second = pool.submit(managers[1].run, sessions[1], "Hi")
        waits.set()
        assert first.result(LIMIT).text == second.result(LIMIT).text == "Hello"
    assert model.calls == 1
    assert second.result().cache_hits == 1


def test_an_outage_does_not_fail_a_tool() -> None:
    look = Look()
    with RedisServer("--appendonly", "yes") as server:
        config = RedisConfig(url=server.url, commit_timeout=LIMIT)
        model = ScriptedModel([ASK, "Done"])
        with SessionAgent(AgentConfig(model=model), look.tools, redis_config=config) as agent:
            manager = SessionManager(agent)
            session_id = manager.create_or_resume_session()
            told = []
            for event in manager.stream(session_id, "Look!"):
                told.append(event.type)
                if event.type is EventType.TOOL_CALL:
                    server.kill()
                elif event.type is EventType.CACHE_MISS:
                    server.start()
            assert told[-1] is EventType.AGENT_RESPONSE
            assert manager.get_history(session_id)[2]["content"] == "x 1"
            assert agent.store.cache_stats.failures >= 1
    assert look.runs == 1


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_is_asked_for_again(open_manager: Open, reason: str) -> None:
    model = named(["Half", Finish(reason)], "Whole")
    manager = open_manager(model, model_cache_ttl=60)
    manager.run(manager.create_or_resume_session("ada"), "Hi")
    result = manager.run(manager.create_or_resume_session("ada"), "Hi")
    assert (result.text, result.cache_hits) == ("Whole", 0)
