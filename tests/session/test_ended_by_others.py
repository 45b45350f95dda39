"""Turns that others end, for a message or as nobody can finish them: what their tools did stays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Message,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionTooLarge,
    ToolCall,
    ToolRegistry,
    TurnResult,
    TurnSuperseded,
)
from miniagent_redis.agent import OnClose
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta
from miniagent_redis.runtime.clock import ManualClock
from tests.support.words import call, result

Open = Callable[..., SessionManager]
LIMIT = 20.0
QUICK = "quick"


class Payer:
    """Has the tool run for "pay"; says ``thinks`` when it is asked behind that, and then waits."""

    def __init__(self) -> None:
        self.thinks = threading.Event()
        self.go_on = threading.Event()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        last = request.messages[-1]
        if last.text == "pay":
            yield from (ToolCall("c1", "pay", {"order": 7}), Finish("tool_calls"))
        elif last.role == "tool":
            self.thinks.set()
            assert self.go_on.wait(LIMIT)
            yield from (TextDelta("paid"), Finish())
        else:
            yield from (TextDelta(QUICK), Finish())


def behind_the_tool(manager: SessionManager, model: Payer) -> tuple[str, Future[TurnResult]]:
    """Return a new session, and its turn, in which the tool has run."""
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "pay", turn_id="order")
    assert model.thinks.wait(LIMIT)
    return session_id, future


def lines(manager: SessionManager, session_id: str) -> list[str]:
    return [f"{m['role']}:{m['content']}" for m in manager.get_history(session_id)]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_what_a_tool_did_stays_when_a_message_interrupts_its_turn(
    open_manager: Open, tools: ToolRegistry, paid: list[int], where: str
) -> None:
    model = Payer()
    manager = open_manager(model, tools, on_busy="interrupt")
    other = manager if where == "here" else open_manager(model, tools, on_busy="interrupt")
    session_id, future = behind_the_tool(manager, model)
    assert other.chat(session_id, "stop") == QUICK
    assert future.result(LIMIT).finish_reason == "cancelled"
    assert lines(other, session_id) == [
        "user:pay",
        "assistant:",
        "tool:order 7 is paid",
        "assistant:",
        "user:stop",
        f"assistant:{QUICK}",
    ]
    assert other.get_history(session_id)[3]["metadata"] == {"interrupted": "cancelled"}
    again = other.run(session_id, "pay", turn_id="order")
    assert (again.finish_reason, again.tool_calls, paid) == ("cancelled", 1, [7])
    usage = other.usage()
    assert (usage.turns, usage.tool_calls) == (2, 1)


def test_a_call_that_runs_while_its_turn_is_interrupted_is_not_run_again(
    open_manager: Open,
) -> None:
    tools, began, go_on = ToolRegistry(), threading.Event(), threading.Event()
    runs: list[int] = []

    @tools.tool
    def pay(order: int) -> str:
        runs.append(order)
        began.set()
        assert go_on.wait(LIMIT)
        return "paid"

    manager = open_manager(Payer(), tools, on_busy="interrupt")
    session_id = manager.create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(manager.chat, session_id, "pay")
        assert began.wait(LIMIT)
        assert manager.chat(session_id, "stop") == QUICK
        go_on.set()
        with pytest.raises(TurnSuperseded) as caught:
            running.result(LIMIT)
    assert len(caught.value.steps) == 1  # the reply that called the tool
    history = manager.get_history(session_id)
    roles = [message["role"] for message in history[:4]]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert "it is not known whether the tool was run" in history[2]["content"]
    assert (history[2]["metadata"], runs) == ({"is_error": True}, [7])


def test_a_message_that_has_no_room_interrupts_no_work(
    open_manager: Open, tools: ToolRegistry
) -> None:
    model = Payer()
    redis = {"max_session_size": 4000}
    manager = open_manager(model, tools, redis=redis, on_busy="interrupt")
    session_id, future = behind_the_tool(manager, model)
    with pytest.raises(SessionTooLarge):
        manager.chat(session_id, "x" * 5000)
    model.go_on.set()
    assert future.result(LIMIT).text == "paid"


def poisoned(store_url: str, model: Any, tools: ToolRegistry) -> tuple[SessionManager, str]:
    """Return a session whose turn was taken over three times, each time by one who died."""
    clock = ManualClock()
    config = AgentConfig(model=model, name="Poisoned")
    agent = SessionAgent(config, tools, redis_config=RedisConfig(url=store_url), clock=clock)
    manager = SessionManager(agent.initialize())
    session_id = manager.create_or_resume_session()
    turn = manager.store.begin_turn(session_id, "pay", turn_id="order")
    manager.store.stage_step(turn, [call("c1"), result("c1", "order 7 is paid")])
    for _ in range(3):
        clock.advance(31)
        turn = manager.store.begin_turn(session_id, "next")
        assert (turn.resumed, turn.is_given_up) == (True, False)
    turn = manager.store.stage_step(turn, [call("c2")])
    clock.advance(31)
    return manager, session_id


@pytest.mark.parametrize("who", ["the next message", "its repetition", "nobody else"])
def test_what_a_tool_did_stays_when_a_turn_is_given_up(
    store_url: str, tools: ToolRegistry, paid: list[int], who: str
) -> None:
    manager, session_id = poisoned(store_url, lambda messages: QUICK, tools)
    with manager.agent:
        if who == "the next message":
            assert manager.chat(session_id, "next") == QUICK
        elif who == "nobody else":
            given_up = manager.agent.resume_turn(session_id)
            assert given_up is not None
            assert given_up.interrupted
        again = manager.run(session_id, "pay", turn_id="order")
        assert (again.finish_reason, paid) == ("stopped", [])
        history = manager.get_history(session_id)
        assert [message["role"] for message in history[:6]] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "tool",
            "assistant",
        ]
        assert history[2]["content"] == "order 7 is paid"
        assert "it is not known whether the tool was run" in history[4]["content"]
        told = history[5]["metadata"]
        assert (told["interrupted"], told["error"]) == ("stopped", "TurnGivenUp")
        assert "taken over 3 times" in told["reason"]


def test_a_store_gives_a_turn_with_work_in_it_to_be_ended(store_url: str) -> None:
    manager, session_id = poisoned(store_url, "demo", ToolRegistry())
    with manager.agent:
        turn = manager.store.begin_turn(session_id, "next")
        assert (turn.resumed, turn.is_given_up, len(turn.staged)) == (True, True, 4)
        manager.store.abort_turn(turn)
        turn = manager.store.begin_turn(session_id, "next")
        assert (turn.resumed, turn.is_given_up) == (False, False)
        manager.store.commit_turn(turn, [Message("assistant", "done")])


@pytest.mark.parametrize("on_close", ["keep", "finish"])
def test_the_reader_of_a_named_turn_hears_each_event_once(
    open_manager: Open, tools: ToolRegistry, on_close: OnClose
) -> None:
    """Its turn is ended by others in the middle, and what they tell of it comes behind."""
    model = Payer()
    manager = open_manager(model, tools, on_busy="interrupt")
    other = open_manager(model, tools, on_busy="interrupt")
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "pay", turn_id="order", on_close=on_close)
    heard = [next(stream) for _ in range(3)]
    assert other.chat(session_id, "stop") == QUICK
    heard += stream
    model.go_on.set()
    watched = [e for e in other.watch(session_id, "", 0.05) if e.turn_id == "order"]
    assert heard == watched
    kinds = ["turn_started", "tool_call", "tool_result", "turn_started", "agent_response"]
    assert [event.type.value for event in heard] == kinds
