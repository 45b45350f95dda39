"""Turns that have a name: repeated, they are joined or found again, and never done twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    InvalidInput,
    Message,
    ModelError,
    RateLimit,
    RateLimited,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import ScriptedModel
from tests.session.conftest import Open
from tests.support.waiting import LIMIT, until


def texts(manager: SessionManager, sid: str) -> list[str]:
    return [message["content"] for message in manager.get_history(sid)]


class Slow:
    """A model that waits until it may answer."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.calls = 0

    def __call__(self, messages: Any) -> str:
        self.calls += 1
        self.asked.set()
        assert self.may_answer.wait(LIMIT)
        return "the answer"


def test_a_repetition_gets_the_stored_result_and_asks_nobody(open_manager: Open) -> None:
    manager, other = open_manager(), open_manager()
    sid = manager.create_or_resume_session("ada")
    first = manager.run(sid, "What is 6 * 7?", turn_id="job-1")
    assert [step.role for step in first.steps] == ["assistant", "tool", "assistant"]
    for each in (manager, other):
        assert each.run(sid, "What is 6 * 7?", turn_id="job-1") == first
        assert each.chat(sid, "What is 6 * 7?", turn_id="job-1") == first.text
    assert first.turn_id == "job-1"
    assert len(manager.get_history(sid)) == 4
    assert manager.usage(session_id=sid).turns == 1


def test_it_is_found_however_many_turns_later(open_manager: Open) -> None:
    manager = open_manager(model=lambda messages: "yes")
    sid = manager.create_or_resume_session()
    first = manager.run(sid, "first", turn_id="one")
    for number in range(520):  # more than the server remembers
        manager.store.append_to_thread(sid, _note(number))
    for each in (manager, open_manager(model=lambda messages: "yes")):
        again = each.run(sid, "first", turn_id="one")
        assert (again.text, again.steps) == (first.text, first.steps)
    manager.chat(sid, "second", turn_id="two")
    assert texts(manager, sid).count("first") == 1
    assert texts(manager, sid)[-2:] == ["second", "yes"]


def _note(number: int) -> Message:
    return Message("system", f"note {number}")


def test_a_long_trimmed_session_takes_new_names(open_manager: Open) -> None:
    manager = open_manager(
        model=lambda messages: "yes", redis={"on_full": "trim", "max_session_size": 20_000}
    )
    sid = manager.create_or_resume_session()
    for number in range(520):
        exchange = [Message("user", f"question {number}"), Message("assistant", "yes")]
        manager.store.append_to_thread(sid, exchange)
    assert manager.store.session_state(sid).head
    for name in ("a", "b"):
        assert manager.chat(sid, "hello " * 50, turn_id=name) == "yes"
        assert manager.chat(sid, "hello " * 50, turn_id=name) == "yes"


def test_a_repetition_joins_the_turn_that_runs_here_or_elsewhere(open_manager: Open) -> None:
    model = Slow()
    managers = [open_manager(model=model), open_manager(model=model)]
    sid = managers[0].create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        turns = [pool.submit(managers[0].run, sid, "Hi", turn_id="job")]
        assert model.asked.wait(LIMIT)
        for manager in managers * 2:
            turns.append(pool.submit(manager.run, sid, "Hi", turn_id="job"))
        streamed = pool.submit(lambda: list(managers[1].stream(sid, "Hi", turn_id="job")))
        until(lambda: managers[0].store.stats().watchers + managers[1].store.stats().watchers == 5)
        model.may_answer.set()
        results = [turn.result(LIMIT) for turn in turns]
        events = streamed.result(LIMIT)
    assert results == [results[0]] * 5
    assert model.calls == 1
    assert texts(managers[0], sid) == ["Hi", "the answer"]
    assert [events[0].type, events[-1].type] == [EventType.TURN_STARTED, EventType.AGENT_RESPONSE]
    assert {event.turn_id for event in events} == {"job"}


@pytest.mark.parametrize("on_busy", ["reject", "interrupt"])
def test_it_joins_whatever_a_new_message_would_do(open_manager: Open, on_busy: str) -> None:
    model = Slow()
    manager = open_manager(model=model, on_busy=on_busy)
    sid = manager.create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(manager.run, sid, "Hi", turn_id="job")
        assert model.asked.wait(LIMIT)
        second = pool.submit(manager.run, sid, "Hi", turn_id="job")
        until(lambda: manager.store.stats().watchers == 1)
        model.may_answer.set()
        assert first.result(LIMIT) == second.result(LIMIT)
    assert model.calls == 1


def test_streamed_again_it_tells_what_was_stored(open_manager: Open) -> None:
    manager = open_manager()
    sid = manager.create_or_resume_session()
    live = list(manager.stream(sid, "What is 6 * 7?", turn_id="job"))
    again = list(open_manager().stream(sid, "What is 6 * 7?", turn_id="job"))
    kinds = [EventType.TURN_STARTED, EventType.TOOL_CALL, EventType.TOOL_RESULT]
    assert [event.type for event in again] == [*kinds, EventType.AGENT_RESPONSE]
    told = {event.type: event.data for event in live}
    assert all(event.data == told[event.type] for event in again)


def test_one_that_broke_off_is_found_as_interrupted(open_manager: Open) -> None:
    manager = open_manager(model=ScriptedModel([["It is ", ModelError("it went away")]]))
    sid = manager.create_or_resume_session()
    with pytest.raises(ModelError):
        manager.chat(sid, "How late is it?", turn_id="job")
    found = manager.run(sid, "How late is it?", turn_id="job")
    assert (found.text, found.interrupted) == ("It is ", True)


def test_one_of_which_nothing_was_stored_is_begun_anew(open_manager: Open) -> None:
    answers: list[Callable[[], str]] = [_fails, lambda: "here"]
    manager = open_manager(model=lambda messages: answers.pop(0)())
    sid = manager.create_or_resume_session()
    with pytest.raises(ModelError):
        manager.chat(sid, "Hi", turn_id="job")
    assert manager.chat(sid, "Hi", turn_id="job") == "here"
    assert texts(manager, sid) == ["Hi", "here"]


def _fails() -> str:
    raise ModelError("not now")


def test_a_name_belongs_to_one_message(open_manager: Open) -> None:
    model = Slow()
    manager = open_manager(model=model)
    sid = manager.create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(manager.run, sid, "Hi", turn_id="job")
        assert model.asked.wait(LIMIT)
        with pytest.raises(InvalidInput, match="had another message"):
            manager.chat(sid, "Something else", turn_id="job")
        model.may_answer.set()
        first.result(LIMIT)
    with pytest.raises(InvalidInput, match="had another message"):
        manager.chat(sid, "Something else", turn_id="job")
    assert texts(manager, sid) == ["Hi", "the answer"]


def test_of_a_history_that_was_cleared_it_says_so(open_manager: Open) -> None:
    manager = open_manager()
    sid = manager.create_or_resume_session()
    manager.chat(sid, "Hi", turn_id="job")
    manager.clear_history(sid)
    with pytest.raises(InvalidInput, match=r"committed already.*cleared"):
        manager.chat(sid, "Hi", turn_id="job")
    with pytest.raises(InvalidInput):
        manager.chat(sid, "Hi", turn_id="no name!")


def test_a_repetition_is_not_counted(open_manager: Open) -> None:
    manager = open_manager(rate_limits=[RateLimit(requests=2, window=60, per="session")])
    sid = manager.create_or_resume_session()
    for _ in range(4):
        manager.chat(sid, "Hi", turn_id="one")
    manager.chat(sid, "Hi", turn_id="two")
    with pytest.raises(RateLimited):
        manager.chat(sid, "Hi", turn_id="three")
    assert manager.run(sid, "Hi", turn_id="one").turn_id == "one"


def test_an_abandoned_one_is_gone_on_with_by_its_repetition(store_url: str) -> None:
    runs: list[str] = []
    tools = ToolRegistry()

    @tools.tool
    def buy(what: str) -> str:
        """Buy it."""
        runs.append(what)
        return "bought"

    model = ScriptedModel([ToolCall("c1", "buy", {"what": "milk"}), "It is bought."])
    config = RedisConfig(url=store_url, lease_ttl=0.5)
    with SessionAgent(AgentConfig(model=model), tools, redis_config=config) as agent:
        manager = SessionManager(agent)
        sid = manager.create_or_resume_session()
        left = agent.store.begin_turn(sid, "Buy milk!", turn_id="job")
        result = manager.run(sid, "Buy milk!", turn_id="job")
        assert result.turn_id == left.turn_id == "job"
        assert manager.run(sid, "Buy milk!", turn_id="job") == result
    assert runs == ["milk"]
