"""Whole turns with real threads: events, staging, resumption, interruption."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from miniagent_redis.agent import Agent, AgentConfig
from miniagent_redis.agent.spent import spent_on
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
from miniagent_redis.models import Event, EventType, Message, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.tools import ToolRegistry
from tests.support.one_turn import LIMIT, Turn, scripted


def test_a_plain_turn_streams_its_text_and_stages_nothing() -> None:
    clock = ManualClock(100.0)
    turn = Turn(scripted(["Hel", "", "lo", Usage(1, 2)]), clock=clock)
    outcome = turn.finish()
    assert [event.text for event in turn.events] == ["Hel", "lo"]
    assert turn.events[0] == Event(EventType.TEXT_DELTA, "s", "t", {"text": "Hel"}, 100.0)
    assert turn.staged == []
    assert outcome.text == "Hello"
    assert outcome.messages == outcome.steps
    assert spent_on(outcome.steps) == UsageTotals(1, 2, unpriced_turns=1)


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
    assert spent_on(outcome.steps).tool_calls == 1
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
    assert spent_on(outcome.steps) == UsageTotals(4, 5, tool_calls=2, unpriced_turns=1)


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
