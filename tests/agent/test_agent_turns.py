"""Whole turns with real threads: events, staging, parallel tools, time limits, interruption."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from miniagent_redis.agent import Agent, AgentConfig, TurnOutcome
from miniagent_redis.clock import ManualClock
from miniagent_redis.errors import ModelError, TurnSuperseded
from miniagent_redis.llm import (
    Finish,
    ModelEvent,
    ModelRequest,
    ScriptedModel,
    TextDelta,
    ToolCall,
    Usage,
)
from miniagent_redis.models import Event, EventType, Message
from miniagent_redis.tools import ToolRegistry

LIMIT = 20  # seconds: generous, for waits that a right program ends at once


class Turn:
    """One turn, with all that was heard of it."""

    def __init__(self, agent: Agent, text: str = "Hi", **options: Any) -> None:
        self.events: list[Event] = []
        self.staged: list[Message] = []
        self.stop = threading.Event()
        options.setdefault("stage", self.stage)
        options.setdefault("staged", [Message("user", text)])
        self.generator = agent.stream_turn(
            options.pop("history", ()),
            options.pop("staged"),
            turn_id="t",
            session_id="s",
            stop=self.stop,
            **options,
        )

    def stage(self, messages: Sequence[Message]) -> None:
        self.staged.extend(messages)

    def next(self) -> Event:
        event = next(self.generator)
        self.events.append(event)
        return event

    def finish(self) -> TurnOutcome:
        while True:
            try:
                self.next()
            except StopIteration as end:
                return cast(TurnOutcome, end.value)

    def kinds(self) -> list[str]:
        return [event.type.value for event in self.events]


def scripted(*replies: Any, tools: ToolRegistry | None = None, **config: Any) -> Agent:
    clock = config.pop("clock", None)
    return Agent(AgentConfig(model=ScriptedModel(replies), **config), tools, clock)


def test_a_plain_turn_streams_its_text_and_stages_nothing() -> None:
    clock = ManualClock(100.0)
    turn = Turn(scripted(["Hel", "", "lo", Usage(1, 2)], clock=clock))
    outcome = turn.finish()
    assert [event.text for event in turn.events] == ["Hel", "lo"]
    assert turn.events[0] == Event(EventType.TEXT_DELTA, "s", "t", {"text": "Hel"}, 100.0)
    assert turn.staged == []
    assert outcome.text == "Hello"
    assert outcome.messages == outcome.steps
    assert (outcome.usage, outcome.tool_calls) == (Usage(1, 2), 0)


def test_the_demo_model_is_given_a_calculator() -> None:
    tools = ToolRegistry()
    turn = Turn(Agent(tools=tools), "What is 12 * (3 + 4)?")
    outcome = turn.finish()
    assert outcome.text == "12 * (3 + 4) = 84"
    assert turn.events[0].data == {
        "id": "call_1", "name": "calculator", "arguments": {"expression": "12 * (3 + 4)"},
    }  # fmt: skip
    assert turn.events[1].data == {
        "id": "call_1", "name": "calculator", "content": "84", "is_error": False,
    }  # fmt: skip
    assert "".join(event.text for event in turn.events[2:]) == outcome.text
    assert [message.role for message in turn.staged] == ["assistant", "tool"]
    assert outcome.steps == (*turn.staged, *outcome.messages)
    assert outcome.tool_calls == 1
    assert "calculator" not in tools


def test_the_demo_model_says_when_a_sum_cannot_be_done() -> None:
    text = Turn(Agent(), "What is 1 / 0?").finish().text
    assert text == "I could not work out 1 / 0: 1 / 0 divides by zero."


def test_a_calculator_of_the_callers_own_is_used_instead() -> None:
    tools = ToolRegistry()
    tools.add(lambda: 1, name="calculator")
    outcome = Turn(Agent(tools=tools), "What is 1 + 1?").finish()
    assert outcome.text.startswith("I could not work out 1 + 1: there is no argument 'expression'")


def test_tools_registered_later_are_offered_from_the_next_turn_on() -> None:
    tools = ToolRegistry()
    agent = scripted("Hi", "Hi", tools=tools)
    Turn(agent).finish()
    tools.add(lambda: 1, name="late")
    Turn(agent).finish()
    assert isinstance(agent.model, ScriptedModel)
    assert [len(request.tools) for request in agent.model.requests] == [0, 1]


def test_the_tools_of_one_reply_run_at_the_same_time_and_are_staged_as_they_finish() -> None:
    tools = ToolRegistry()
    both = threading.Barrier(2)
    second_is_staged = threading.Event()

    @tools.tool
    def first() -> str:
        both.wait(LIMIT)
        assert second_is_staged.wait(LIMIT)
        return "1"

    @tools.tool
    def second() -> str:
        both.wait(LIMIT)
        return "2"

    def stage(messages: Sequence[Message]) -> None:
        turn.stage(messages)
        if messages[0].name == "second":
            second_is_staged.set()

    agent = scripted([ToolCall("a", "first"), ToolCall("b", "second")], "Done", tools=tools)
    turn = Turn(agent, stage=stage)
    outcome = turn.finish()
    assert turn.kinds() == ["tool_call"] * 2 + ["tool_result"] * 2 + ["text_delta"]
    assert [message.text for message in outcome.steps] == ["", "2", "1", "Done"]
    assert isinstance(agent.model, ScriptedModel)
    assert [message.text for message in agent.model.requests[1].messages] == ["Hi", "", "1", "2"]


def test_more_calls_than_threads_all_get_their_result() -> None:
    tools = ToolRegistry()

    @tools.tool
    def echo(n: int) -> int:
        return n

    calls = [ToolCall(str(n), "echo", {"n": n}) for n in range(50)]
    outcome = Turn(scripted(calls, "Done", tools=tools)).finish()
    assert {m.text for m in outcome.steps if m.role == "tool"} == {str(n) for n in range(50)}
    assert outcome.tool_calls == 50


def test_a_failing_and_an_unknown_tool_are_told_to_the_model() -> None:
    tools = ToolRegistry()
    tools.add(lambda: 1 / 0, name="fail")
    agent = scripted([ToolCall("a", "fail"), ToolCall("b", "gone")], "Sorry", tools=tools)
    turn = Turn(agent)
    assert turn.finish().text == "Sorry"
    results = {event.data["name"]: event.data for event in turn.events if "content" in event.data}
    assert results["fail"]["content"] == "ZeroDivisionError: division by zero"
    assert results["gone"]["content"] == "there is no tool 'gone'; the tools are: fail"
    assert all(data["is_error"] for data in results.values())


def test_a_tool_that_takes_too_long_is_given_up_and_its_late_result_dropped() -> None:
    clock, given_up = ManualClock(), threading.Event()
    tools = ToolRegistry()
    threads: list[threading.Thread] = []

    @tools.tool(timeout=5)
    def slow() -> str:
        threads.append(threading.current_thread())
        clock.advance(5)
        assert given_up.wait(LIMIT)
        return "late"

    @tools.tool
    def after() -> str:
        assert given_up.wait(LIMIT)
        threads[0].join(LIMIT)
        return "on time"

    def stage(messages: Sequence[Message]) -> None:
        if messages[0].role == "tool":
            given_up.set()

    calls = [ToolCall("a", "slow"), ToolCall("b", "after")]
    outcome = Turn(scripted(calls, "Done", tools=tools, clock=clock), stage=stage).finish()
    assert [(m.text, m.metadata) for m in outcome.steps if m.role == "tool"] == [
        ("timed out after 5 s; it may still be running", {"is_error": True}),
        ("on time", {}),
    ]


def test_the_agents_time_limit_holds_for_tools_without_their_own() -> None:
    clock, release = ManualClock(), threading.Event()
    tools = ToolRegistry()

    @tools.tool
    def slow() -> None:
        clock.advance(7)
        release.wait(LIMIT)

    agent = scripted(ToolCall("a", "slow"), "Done", tools=tools, clock=clock, tool_timeout=7)
    assert "timed out after 7 s" in Turn(agent).finish().steps[1].text
    release.set()


def test_tools_see_the_callers_context_and_a_thread_of_their_own() -> None:
    who = contextvars.ContextVar("who", default="nobody")
    tools = ToolRegistry()
    threads: list[threading.Thread] = []

    @tools.tool
    async def ask_who() -> str:
        threads.append(threading.current_thread())
        name = who.get()
        who.set("somebody else")
        return name

    who.set("Ada")
    outcome = Turn(scripted(ToolCall("a", "ask_who"), "Done", tools=tools)).finish()
    assert outcome.steps[1].text == "Ada"
    assert who.get() == "Ada"
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_a_tool_may_run_turns_of_the_same_agent_however_deep() -> None:
    tools = ToolRegistry()

    @tools.tool
    def deeper(level: int) -> str:
        return Turn(agent, str(level - 1)).finish().text if level else "bottom"

    def reply(request: ModelRequest) -> Any:
        if request.messages[-1].role == "tool":
            return "above " + request.messages[-1].text
        level = int(request.messages[-1].text)
        return [ToolCall(f"{side}", "deeper", {"level": level}) for side in "ab"][: 1 + (level > 3)]

    agent = scripted(*[reply] * 200, tools=tools)
    text = Turn(agent, "5").finish().text
    assert text == "above " * 6 + "bottom"


def test_a_wish_to_stop_in_a_tool_ends_the_turn() -> None:
    tools = ToolRegistry()

    @tools.tool
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Turn(scripted(ToolCall("a", "stop"), tools=tools)).finish()


def test_a_resumed_turn_goes_on_where_it_was_left() -> None:
    tools = ToolRegistry()
    ran: list[str] = []

    @tools.tool
    def look(what: str) -> str:
        ran.append(what)
        return what

    calls = (ToolCall("a", "look", {"what": "A"}), ToolCall("b", "look", {"what": "B"}))
    usage = {"usage": {"input_tokens": 3, "output_tokens": 4, "cached_tokens": 0}}
    before = [
        Message("user", "Hi"),
        Message("assistant", tool_calls=calls, metadata=usage),
        Message("tool", "A", tool_call_id="a", name="look"),
    ]
    turn = Turn(scripted(["Done", Usage(1, 1)], tools=tools), staged=before)
    outcome = turn.finish()
    assert ran == ["B"]
    assert turn.kinds() == ["tool_call", "tool_result", "text_delta"]
    assert [message.text for message in turn.staged] == ["B"]
    assert outcome.steps == (*before[1:], *turn.staged, *outcome.messages)
    assert (outcome.usage, outcome.tool_calls) == (Usage(4, 5), 2)


class Endless:
    """A model that goes on until its stream is closed."""

    def __init__(self) -> None:
        self.closed = False

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        try:
            while True:
                yield TextDelta("and ")
            yield Finish()
        finally:
            self.closed = True


def test_a_stopped_turn_ends_between_two_pieces_and_closes_the_models_stream() -> None:
    model = Endless()
    turn = Turn(Agent(AgentConfig(model=model)))
    turn.next()
    turn.stop.set()
    with pytest.raises(TurnSuperseded):
        turn.next()
    assert model.closed


def test_closing_a_turn_closes_the_models_stream() -> None:
    model = Endless()
    turn = Turn(Agent(AgentConfig(model=model)))
    turn.next()
    turn.generator.close()
    assert model.closed


def test_a_stopped_turn_does_not_wait_for_its_tools() -> None:
    tools = ToolRegistry()
    release = threading.Event()

    @tools.tool
    def hang() -> None:
        turn.stop.set()
        release.wait(LIMIT)

    turn = Turn(scripted(ToolCall("a", "hang"), tools=tools, tool_timeout=None))
    with pytest.raises(TurnSuperseded):
        turn.finish()
    assert not release.is_set()
    release.set()


def test_what_staging_raises_ends_the_turn_before_a_tool_is_run() -> None:
    tools = ToolRegistry()
    ran: list[int] = []
    tools.add(lambda: ran.append(1), name="look")

    def stage(messages: Sequence[Message]) -> None:
        raise TurnSuperseded("s", "t")

    turn = Turn(scripted(ToolCall("a", "look"), tools=tools), stage=stage)
    with pytest.raises(TurnSuperseded):
        turn.finish()
    assert ran == []


def test_a_failing_model_ends_the_turn_with_its_error() -> None:
    with pytest.raises(ModelError, match="refused"):
        Turn(scripted(ConnectionError("refused"))).finish()
