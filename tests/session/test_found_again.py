"""Turns that are started and found again: by their id, by their events, in the history."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    Event,
    EventType,
    InvalidInput,
    Message,
    ModelError,
    RateLimit,
    RateLimited,
    SessionBusy,
    SessionManager,
    SessionNotFound,
    ToolRegistry,
)
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.models import ToolCall
from tests.session.conftest import Open
from tests.session.test_named_turns import Slow
from tests.support.waiting import LIMIT, until


def kinds(events: list[Event]) -> list[EventType]:
    return [event.type for event in events]


def test_a_started_turn_goes_on_without_anybody_who_waits(open_manager: Open) -> None:
    model = Slow()
    manager, other = (open_manager(model=model, delta_interval=None) for _ in range(2))
    sid = manager.create_or_resume_session("ada")
    turn_id, cursor = manager.start(sid, "Hi")
    assert model.asked.wait(LIMIT)
    for each in (manager, other):
        state = each.turn(sid, turn_id, "ada")
        assert (state.state, state.steps, state.result) == ("running", (), None)
        assert state.message is not None
        assert state.message.text == "Hi"
    with ThreadPoolExecutor() as pool:
        watching = [
            pool.submit(lambda: list(other.watch(sid, turn_id=turn_id))),
            pool.submit(lambda: list(other.watch(sid, after=cursor, turn_id=turn_id))),
        ]
        until(lambda: other.store.stats().watchers == 2)
        model.may_answer.set()
        whole, same = (watched.result(LIMIT) for watched in watching)
    assert kinds(whole) == [EventType.TURN_STARTED, EventType.AGENT_RESPONSE]
    assert whole == same
    over = other.turn(sid, turn_id)
    assert (over.state, over.text) == ("completed", "the answer")
    assert over.result is not None
    assert over.result.text == "the answer"
    assert over.result.version == manager.run(sid, "Hi", turn_id=turn_id).version
    assert list(other.watch(sid, turn_id=turn_id)) == whole


def test_started_again_it_is_the_same_turn(open_manager: Open) -> None:
    model = Slow()
    manager, other = open_manager(model=model), open_manager(model=model)
    sid = manager.create_or_resume_session()
    first = manager.start(sid, "Hi", turn_id="job")
    assert model.asked.wait(LIMIT)
    assert other.start(sid, "Hi", "job") == first
    with pytest.raises(InvalidInput, match="another message"):
        other.start(sid, "Hello", "job")
    model.may_answer.set()
    assert other.chat(sid, "Hi", turn_id="job") == "the answer"
    assert other.start(sid, "Hi", "job") == first
    with pytest.raises(InvalidInput, match="another message"):
        other.start(sid, "Hello", "job")
    assert model.calls == 1


def test_what_forbids_a_start_is_raised_at_once(open_manager: Open) -> None:
    model = Slow()
    limits = [RateLimit(requests=2, window=60, per="session")]
    manager = open_manager(model=model, on_busy="reject", rate_limits=limits)
    sid = manager.create_or_resume_session("ada")
    with pytest.raises(SessionNotFound):
        manager.start("nobody", "Hi")
    with pytest.raises(SessionNotFound):
        manager.start(sid, "Hi", user_id="bob")
    with pytest.raises(InvalidInput):
        manager.start(sid, "")
    with pytest.raises(InvalidInput):
        manager.start(sid, "Hi", turn_id="no name!")
    manager.start(sid, "Hi", "one")
    with pytest.raises(SessionBusy):
        manager.start(sid, "Hi", "two")
    model.may_answer.set()
    manager.chat(sid, "Hi", turn_id="one")
    manager.start(sid, "Hi", "two")
    with pytest.raises(RateLimited):
        manager.start(sid, "Hi", "three")


def test_a_submitted_turn_is_known_at_once(open_manager: Open) -> None:
    model = Slow()
    manager = open_manager(model=model)
    sid = manager.create_or_resume_session()
    first = manager.agent.submit(sid, "Hi")
    second = manager.agent.submit(sid, "And?", turn_id="second")  # it waits
    assert second.turn_id == "second"
    assert manager.turn(sid, first.turn_id).state == "running"
    assert manager.turn(sid, "second").state == "unknown"
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(lambda: list(manager.watch(sid, turn_id="second")))
        until(lambda: manager.store.stats().watchers == 1)
        model.may_answer.set()
        assert second.result(LIMIT).turn_id == "second"
        assert first.result(LIMIT).turn_id == first.turn_id
        assert watching.result(LIMIT)[0].data["message"]["content"] == "And?"
    told = [
        [event for event in manager.watch(sid, future.cursor, 0) if event.turn_id == future.turn_id]
        for future in (first, second)
    ]
    for events in told:
        assert kinds(events)[0] is EventType.TURN_STARTED
        assert kinds(events)[-1] is EventType.AGENT_RESPONSE


def test_submitted_again_it_is_the_same_turn(open_manager: Open) -> None:
    model = Slow()
    manager, other = open_manager(model=model), open_manager(model=model)
    sid = manager.create_or_resume_session()
    futures = [each.agent.submit(sid, "Hi", turn_id="job") for each in (manager, other, manager)]
    model.may_answer.set()
    results = [future.result(LIMIT) for future in futures]
    assert results == [results[0]] * 3
    assert {future.cursor for future in futures} == {futures[0].cursor}
    assert model.calls == 1


def test_one_that_is_cancelled_before_it_begins_is_dropped(open_manager: Open) -> None:
    model = Slow()
    manager = open_manager(model=model)
    sid = [manager.create_or_resume_session() for _ in range(33)]
    futures = [manager.agent.submit(each, "Hi") for each in sid]  # one more than there are threads
    assert futures[-1].cancel()
    model.may_answer.set()
    for future in futures[:-1]:
        future.result(LIMIT)
    until(lambda: manager.turn(sid[-1], futures[-1].turn_id).state == "unknown")
    assert manager.get_history(sid[-1], pending=True) == []


def test_the_question_and_the_steps_of_a_running_turn_are_in_the_history(
    open_manager: Open,
) -> None:
    staged, go_on = threading.Event(), threading.Event()
    tools = ToolRegistry()

    @tools.tool
    def look(place: str) -> str:
        """Look."""
        return "rain"

    def answers(request: Any) -> str:
        staged.set()
        assert go_on.wait(LIMIT)
        return "It rains."

    model = ScriptedModel([ToolCall("c1", "look", {"place": "Bonn"}), answers])
    manager = open_manager(model=model, tools=tools)
    sid = manager.create_or_resume_session()
    manager.store.append_to_thread(sid, Message("system", "Be short."))
    turn_id, _ = manager.start(sid, "Does it rain?")
    assert staged.wait(LIMIT)
    assert len(manager.get_history(sid)) == 1
    history = manager.get_history(sid, pending=True)
    assert [message["index"] for message in history] == [0, 1, 2, 3]
    assert [message.get("pending") for message in history] == [None, True, True, True]
    assert [message["role"] for message in history[1:]] == ["user", "assistant", "tool"]
    assert len(manager.turn(sid, turn_id).steps) == 2
    go_on.set()
    manager.run(sid, "Does it rain?", turn_id=turn_id)
    assert len(manager.get_history(sid, pending=True)) == 5
    assert not any("pending" in message for message in manager.get_history(sid, pending=True))


def test_a_turn_that_failed_ends_who_watches_it(open_manager: Open) -> None:
    manager = open_manager(model=ScriptedModel([ModelError("no")]))
    sid = manager.create_or_resume_session()
    turn_id, _ = manager.start(sid, "Hi")
    watched = list(manager.watch(sid, turn_id=turn_id))
    assert kinds(watched) == [EventType.TURN_STARTED, EventType.TURN_FAILED]
    assert manager.turn(sid, turn_id).state == "unknown"
    assert list(manager.watch(sid, watched[-1].id, turn_id=turn_id)) == []


def test_a_turn_whose_events_are_gone_is_told_by_its_messages(open_manager: Open) -> None:
    manager = open_manager()
    sid = manager.create_or_resume_session()
    result = manager.run(sid, "What is 6 * 7?", turn_id="job")
    manager.store.client.delete(manager.store.parts.core.keys.events(sid))
    told = list(manager.watch(sid, turn_id="job"))
    assert kinds(told)[0] is EventType.TURN_STARTED
    assert (kinds(told)[-1], told[-1].text) == (EventType.AGENT_RESPONSE, result.text)


def test_a_turn_of_an_unknown_id_is_unknown(open_manager: Open) -> None:
    manager: SessionManager = open_manager()
    sid = manager.create_or_resume_session("ada")
    assert manager.turn(sid, "nothing").state == "unknown"
    assert list(manager.watch(sid, turn_id="nothing", timeout=0.05)) == []
    with pytest.raises(SessionNotFound):
        manager.turn(sid, "nothing", "bob")
    with pytest.raises(InvalidInput):
        manager.turn(sid, "no name!")
