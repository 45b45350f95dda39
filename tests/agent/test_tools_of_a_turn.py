"""The tools of one reply run at the same time, each in a thread of its own."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from miniagent_redis.agent import AgentConfig, TurnOutcome
from miniagent_redis.agent.caching import TurnCache
from miniagent_redis.agent.spent import spent_on
from miniagent_redis.agent.tool_runs import ToolRuns
from miniagent_redis.llm import ModelRequest, ScriptedModel, ToolCall
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.runtime.pausing import at_once
from miniagent_redis.tools import ToolRegistry
from tests.support.one_turn import LIMIT, Context, Turn, scripted


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
    assert spent_on(outcome.steps).tool_calls == 50


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


def turn_with_a_late_tool(end: Callable[[], str]) -> TurnOutcome:
    """Let a turn give up a tool, which then comes to its ``end``, before another tool does."""
    clock, given_up = ManualClock(), threading.Event()
    tools = ToolRegistry()
    threads: list[threading.Thread] = []

    @tools.tool(timeout=5)
    def slow() -> str:
        threads.append(threading.current_thread())
        clock.advance(5)
        assert given_up.wait(LIMIT)
        return end()

    @tools.tool
    def after() -> str:
        assert given_up.wait(LIMIT)
        threads[0].join(LIMIT)
        return "on time"

    def stage(messages: Sequence[Message]) -> None:
        if messages[0].role == "tool":
            given_up.set()

    calls = [ToolCall("a", "slow"), ToolCall("b", "after")]
    return Turn(scripted(calls, "Done", tools=tools), stage=stage, clock=clock).finish()


def test_a_tool_that_takes_too_long_is_given_up_and_its_late_result_dropped() -> None:
    outcome = turn_with_a_late_tool(lambda: "late")
    assert [(m.text, m.metadata) for m in outcome.steps if m.role == "tool"] == [
        ("timed out after 5 s; it may still be running", {"is_error": True}),
        ("on time", {}),
    ]


def test_a_tool_that_ends_the_program_after_it_was_given_up_is_not_heard() -> None:
    outcome = turn_with_a_late_tool(sys.exit)
    assert [m.text for m in outcome.steps][2:] == ["on time", "Done"]


def test_what_a_tool_had_found_when_the_turn_was_cancelled_is_not_lost() -> None:
    tools = ToolRegistry()
    tools.add(lambda: "booked", name="book", idempotent=False)
    is_cancelled = threading.Event()

    turn = Context(is_cancelled=is_cancelled.is_set)
    runs = ToolRuns(
        tools,
        [ToolCall("a", "book")],
        config=AgentConfig(),
        turn=turn,
        cache=TurnCache(None, turn),
    )
    for thread in threading.enumerate():
        if thread.name == "miniagent-tool-book":
            thread.join(LIMIT)
    is_cancelled.set()
    assert at_once(runs.next()).content == "booked"


def test_the_agents_time_limit_holds_for_tools_without_their_own() -> None:
    clock, release = ManualClock(), threading.Event()
    tools = ToolRegistry()

    @tools.tool
    def slow() -> None:
        clock.advance(7)
        release.wait(LIMIT)

    agent = scripted(ToolCall("a", "slow"), "Done", tools=tools, tool_timeout=7)
    assert "timed out after 7 s" in Turn(agent, clock=clock).finish().steps[1].text
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


def test_whoever_hears_of_a_call_cannot_change_it() -> None:
    tools = ToolRegistry()

    @tools.tool
    def greet(name: str) -> str:
        return f"Hello, {name}"

    turn = Turn(scripted(ToolCall("a", "greet", {"name": "Ada"}), "Done", tools=tools))
    turn.next().data["arguments"]["name"] = "***"
    outcome = turn.finish()
    assert outcome.steps[1].text == "Hello, Ada"
    assert outcome.steps[0].tool_calls[0].arguments == {"name": "Ada"}


def test_a_wish_to_stop_in_a_tool_ends_the_turn() -> None:
    tools = ToolRegistry()

    @tools.tool
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Turn(scripted(ToolCall("a", "stop"), tools=tools)).finish()
