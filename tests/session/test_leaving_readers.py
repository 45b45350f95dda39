"""A reader that leaves a stream: what was done is kept, dropped, or finished without him."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    InvalidInput,
    Message,
    ModelError,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, ScriptedModel, TextDelta
from miniagent_redis.runtime import inbox
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.session.results import to_its_end
from tests.support.waiting import LIMIT, until

Open = Callable[..., SessionManager]
PAY = ToolCall("p1", "pay", {"order": 7})


class Speaker:
    """Says one word, and the other when it is let."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield TextDelta("one ")
        assert self.go.wait(LIMIT)
        yield TextDelta("two")
        yield Finish()


def leave_at(stream: Iterator[Event], kind: EventType) -> None:
    """Read up to the first event of that kind, and let go of the stream."""
    for event in stream:
        if event.type is kind:
            return
    raise AssertionError(f"there is no {kind}")


def said(manager: SessionManager, session_id: str) -> list[str]:
    return [message["content"] for message in manager.get_history(session_id)]


def test_what_was_shown_is_kept_by_default(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([["Once upon ", "a time"], "Go on."]))
    session_id = manager.create_or_resume_session()
    leave_at(manager.stream(session_id, "Tell"), EventType.TEXT_DELTA)
    _, answer = manager.get_history(session_id)
    assert (answer["content"], answer["metadata"]["interrupted"]) == ("Once upon ", "stopped")
    assert manager.chat(session_id, "And?") == "Go on."


def test_a_turn_is_dropped_if_that_is_wanted(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([["Once upon ", "a time"], "Hello."]))
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "Tell", on_close="drop")
    leave_at(stream, EventType.TEXT_DELTA)
    del stream
    assert manager.get_history(session_id, pending=True) == []
    assert manager.store.session_state(session_id).open_turn is None
    assert manager.chat(session_id, "Hello?") == "Hello."


def test_a_tool_that_ran_is_never_dropped(
    open_manager: Open, tools: ToolRegistry, paid: list[int]
) -> None:
    manager = open_manager(ScriptedModel([PAY, ["It ", "is paid"], "Yes, it is."]), tools)
    session_id = manager.create_or_resume_session()
    leave_at(manager.stream(session_id, "Pay order 7", on_close="drop"), EventType.TEXT_DELTA)
    assert said(manager, session_id) == ["Pay order 7", "", "order 7 is paid", "It "]
    assert manager.get_history(session_id)[-1]["metadata"]["interrupted"] == "stopped"
    assert manager.chat(session_id, "Is it paid?") == "Yes, it is."
    assert paid == [7]


def test_a_call_that_was_not_begun_is_dropped_with_its_turn(
    open_manager: Open, tools: ToolRegistry, paid: list[int]
) -> None:
    manager = open_manager(ScriptedModel([PAY, "It is paid."]), tools)
    session_id = manager.create_or_resume_session()
    leave_at(manager.stream(session_id, "Pay order 7", on_close="drop"), EventType.TOOL_CALL)
    assert (said(manager, session_id), paid) == ([], [])


def test_a_call_that_was_not_run_is_no_work(open_manager: Open, tools: ToolRegistry) -> None:
    unknown = ToolCall("x", "no_such_tool", {})
    manager = open_manager(ScriptedModel([unknown, ["Sorry", "!"]]), tools)
    session_id = manager.create_or_resume_session()
    leave_at(manager.stream(session_id, "Do", on_close="drop"), EventType.TEXT_DELTA)
    assert said(manager, session_id) == []


def test_what_an_earlier_holder_may_have_run_is_never_dropped(
    open_manager: Open, tools: ToolRegistry
) -> None:
    manager = open_manager(ScriptedModel([["It may ", "be paid"]]), tools)
    session_id = manager.create_or_resume_session()
    turn = manager.store.begin_turn(session_id, "Pay order 7", turn_id="job-1")
    manager.store.stage_step(turn, [Message("assistant", "", tool_calls=(PAY,))])
    manager.store.client.hset(f"metadata:{{{session_id}}}", "lease", 1)
    stream = manager.stream(session_id, "Pay order 7", turn_id="job-1", on_close="drop")
    leave_at(stream, EventType.TEXT_DELTA)
    del stream
    assert [message["role"] for message in manager.get_history(session_id)] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_turn_is_finished_without_its_reader_if_that_is_wanted(
    open_manager: Open, tools: ToolRegistry, paid: list[int]
) -> None:
    manager = open_manager(ScriptedModel([PAY, ["It ", "is paid"]]), tools)
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "Pay order 7", on_close="finish")
    leave_at(stream, EventType.TOOL_CALL)
    del stream
    until(lambda: said(manager, session_id)[3:] == ["It is paid"])
    assert "metadata" not in manager.get_history(session_id)[-1]
    assert paid == [7]


def test_a_reader_that_stays_sees_the_same(open_manager: Open, tools: ToolRegistry) -> None:
    manager = open_manager(ScriptedModel([PAY, "It is paid"] * 2), tools)
    heard = [
        [
            (event.type, event.text)
            for event in manager.stream(
                manager.create_or_resume_session(), "Pay order 7", on_close=on_close
            )
        ]
        for on_close in ("keep", "finish")
    ]
    assert heard[0] == heard[1]
    assert heard[0][-1] == (EventType.AGENT_RESPONSE, "It is paid")


def test_a_reader_hears_nothing_twice_if_the_model_is_silent_for_long(
    open_manager: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_LOOK_AROUND", 0.001)
    speaker = Speaker()
    manager = open_manager(speaker)
    stream = manager.stream(manager.create_or_resume_session(), "Hi", on_close="finish")
    assert next(event.text for event in stream if event.type is EventType.TEXT_DELTA) == "one "
    threading.Timer(0.1, speaker.go.set).start()
    rest = [(event.type, event.text) for event in stream]
    assert rest == [(EventType.TEXT_DELTA, "two"), (EventType.AGENT_RESPONSE, "one two")]


def test_a_stream_has_its_result_and_its_error_wherever_the_turn_is_done(
    open_manager: Open,
) -> None:
    manager = open_manager(ScriptedModel(["Hello", OSError("gone")]))
    session_id = manager.create_or_resume_session()

    def read(message: str) -> Any:
        return (yield from manager.agent.stream(session_id, message, on_close="finish"))

    assert to_its_end(read("Hi")).text == "Hello"
    with pytest.raises(ModelError, match="gone"):
        list(read("And?"))


def test_a_repetition_joins_the_turn_that_is_finished_without_its_reader(
    open_manager: Open,
) -> None:
    speaker = Speaker()
    manager = open_manager(speaker, delta_interval=0)
    session_id = manager.create_or_resume_session()
    for _ in range(2):
        leave_at(
            manager.stream(session_id, "Count", turn_id="job-1", on_close="finish"),
            EventType.TEXT_DELTA,
        )
    speaker.go.set()
    assert manager.run(session_id, "Count", turn_id="job-1").text == "one two"
    assert said(manager, session_id) == ["Count", "one two"]


def test_a_reader_that_stalls_holds_up_no_turn_that_is_to_be_finished(store_url: str) -> None:
    clock = ManualClock()
    config = AgentConfig(model=ScriptedModel([["one ", "two"]]), reader_timeout=60)
    with SessionAgent(config, redis_config=RedisConfig(url=store_url), clock=clock) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        stream = manager.stream(session_id, "Count", on_close="finish")
        next(stream)
        until(lambda: said(manager, session_id) == ["Count", "one two"])
        clock.advance(600)
        assert [event.text for event in stream][-1] == "one two"


def test_a_turn_that_is_to_be_finished_is_if_its_process_dies(open_manager: Open) -> None:
    speaker = Speaker()
    manager = open_manager(speaker)
    session_id = manager.create_or_resume_session()
    leave_at(manager.stream(session_id, "Count", on_close="finish"), EventType.TEXT_DELTA)
    keys = manager.store.parts.core.keys
    key = keys.turns(keys.shard(session_id))
    assert manager.store.client.zrange(key, 0, -1) == [session_id.encode()]
    speaker.go.set()


def test_the_end_of_the_agent_waits_for_a_turn_that_nobody_reads(store_url: str) -> None:
    speaker, redis = Speaker(), RedisConfig(url=store_url)
    with SessionAgent(AgentConfig(model=speaker), redis_config=redis) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        leave_at(manager.stream(session_id, "Count", on_close="finish"), EventType.TEXT_DELTA)
        threading.Timer(0.1, speaker.go.set).start()
    with SessionAgent(redis_config=redis) as agent:
        assert said(SessionManager(agent), session_id) == ["Count", "one two"]


def test_tenants_have_the_same_choice(open_manager: Open) -> None:
    manager = open_manager(ScriptedModel([["one ", "two"]] * 3)).tenant("acme")
    session_id = manager.create_or_resume_session()
    leave_at(manager.stream(session_id, "1", on_close="drop"), EventType.TEXT_DELTA)
    leave_at(manager.stream(session_id, "2"), EventType.TEXT_DELTA)
    leave_at(manager.stream(session_id, "3", on_close="finish"), EventType.TEXT_DELTA)
    until(lambda: said(manager, session_id) == ["2", "one ", "3", "one two"])


@pytest.mark.parametrize("value", ["stop", "", None, True, ["keep"]])
def test_another_choice_is_refused_at_once(open_manager: Open, value: Any) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session()
    with pytest.raises(InvalidInput, match='on_close must be "keep", "drop" or "finish"'):
        manager.stream(session_id, "Hello", on_close=value)
