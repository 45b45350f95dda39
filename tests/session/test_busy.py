"""Several hands on one session: waiting, rejecting, interrupting, taking over."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    InvalidInput,
    Message,
    RateLimit,
    RateLimited,
    RedisConfig,
    SessionAgent,
    SessionBusy,
    SessionManager,
    SessionNotFound,
    SessionTooLarge,
    ToolCall,
    ToolRegistry,
    TurnSuperseded,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, ScriptedModel, TextDelta
from miniagent_redis.runtime.clock import ManualClock

Open = Callable[..., SessionManager]
LIMIT = 20  # seconds that nothing here should take


class SlowModel:
    """Says when it began to answer and ends its answer when it is told to."""

    def __init__(self, first: str = "slow ") -> None:
        self.first = first
        self.began = threading.Event()
        self.go_on = threading.Event()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield TextDelta(self.first)
        self.began.set()
        assert self.go_on.wait(LIMIT)
        yield TextDelta("answer")
        yield Finish("stop")


def test_a_second_message_waits_for_the_running_turn(open_manager: Open) -> None:
    model = SlowModel()
    first, second = open_manager(model), open_manager(lambda messages: str(len(messages)))
    session_id = first.create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(first.chat, session_id, "1?")
        assert model.began.wait(LIMIT)
        waiting = pool.submit(second.chat, session_id, "2?")
        model.go_on.set()
        assert running.result(LIMIT) == "slow answer"
        assert waiting.result(LIMIT) == "3"  # it saw the first turn
    assert [m["content"] for m in first.get_history(session_id)] == [
        "1?",
        "slow answer",
        "2?",
        "3",
    ]


@pytest.mark.parametrize("settings", [{"on_busy": "reject"}, {"busy_timeout": 0.05}])
def test_a_message_that_may_not_wait_is_refused(
    open_manager: Open, settings: dict[str, Any]
) -> None:
    model = SlowModel()
    first, second = open_manager(model), open_manager("demo", **settings)
    session_id = first.create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(first.chat, session_id, "1?")
        assert model.began.wait(LIMIT)
        with pytest.raises(SessionBusy) as caught:
            second.chat(session_id, "2?")
        assert 0 < caught.value.lease_remaining <= 30
        model.go_on.set()
        assert running.result(LIMIT) == "slow answer"
    assert len(first.get_history(session_id)) == 2


@pytest.mark.parametrize("same_instance", [True, False])
def test_an_interrupting_message_replaces_the_running_turn(
    open_manager: Open, same_instance: bool
) -> None:
    slow = SlowModel(first="")  # else that stays
    replies = iter([slow, ScriptedModel(["quick"])])
    first_model = _Either(lambda: next(replies)) if same_instance else slow
    first = open_manager(first_model, on_busy="interrupt")
    second = first if same_instance else open_manager(ScriptedModel(["quick"]), on_busy="interrupt")
    session_id = first.create_or_resume_session()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(first.chat, session_id, "1?")
        assert slow.began.wait(LIMIT)
        assert second.chat(session_id, "2?") == "quick"
        slow.go_on.set()
        with pytest.raises(TurnSuperseded):
            running.result(LIMIT)
    assert [m["content"] for m in second.get_history(session_id)] == ["2?", "quick"]


@pytest.mark.parametrize(
    ("message", "user_id", "error"),
    [
        ("2?", "eve", SessionNotFound),
        ("2" * 2000, "ada", SessionTooLarge),
        ("", "ada", InvalidInput),
    ],
    ids=["a stranger's", "too long", "empty"],
)
def test_a_message_that_is_refused_interrupts_nothing(
    open_manager: Open, message: str, user_id: str, error: type[Exception]
) -> None:
    model = SlowModel()
    manager = open_manager(model, redis={"max_session_size": 1000}, on_busy="interrupt")
    session_id = manager.create_or_resume_session("ada")
    running = manager.agent.submit(session_id, "1?", user_id="ada")
    assert model.began.wait(LIMIT)
    with pytest.raises(error):
        manager.chat(session_id, message, user_id=user_id)
    model.go_on.set()
    assert running.result(LIMIT).text == "slow answer"


@pytest.mark.parametrize("settings", [{"on_busy": "reject"}, {"busy_timeout": 0.05}])
def test_a_message_that_meets_a_busy_session_uses_up_no_limit(
    open_manager: Open, settings: dict[str, Any]
) -> None:
    model = SlowModel()
    limits = [RateLimit(per="session", requests=2, window=1_000_000)]
    manager = open_manager(model, rate_limits=limits, **settings)
    session_id = manager.create_or_resume_session()
    running = manager.agent.submit(session_id, "1?")
    assert model.began.wait(LIMIT)
    for _ in range(3):
        with pytest.raises(SessionBusy):
            manager.chat(session_id, "2?")
    model.go_on.set()
    assert running.result(LIMIT).text == "slow answer"
    assert manager.chat(session_id, "2?") == "slow answer"
    with pytest.raises(RateLimited):
        manager.chat(session_id, "3?")


class _Either:
    """Asks another model each time."""

    def __init__(self, choose: Callable[[], Any]) -> None:
        self.choose = choose

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        stream: Iterator[ModelEvent] = self.choose().stream(request)
        return stream


def test_an_abandoned_turn_is_finished_before_the_next_one(store_url: str) -> None:
    clock = ManualClock()
    runs: list[str] = []
    tools = ToolRegistry()

    @tools.tool
    def lookup(city: str) -> str:
        """Look a city up."""
        runs.append(city)
        return f"{city} is fine"

    def open_it(model: Any) -> SessionAgent:
        return SessionAgent(
            AgentConfig(model=model), tools, redis_config=RedisConfig(url=store_url), clock=clock
        ).initialize()

    dying = open_it("demo")
    session_id = SessionManager(dying).create_or_resume_session()
    turn = dying.store.begin_turn(session_id, "Compare Oslo and Rome")
    calls = (ToolCall("a", "lookup", {"city": "Oslo"}), ToolCall("b", "lookup", {"city": "Rome"}))
    turn = dying.store.stage_step(turn, [Message("assistant", "", calls)])
    result = Message("tool", "Oslo is fine", tool_call_id="a", name="lookup")
    dying.store.stage_step(turn, [result])
    # Here its process dies. Until the lease ends nobody may go on.
    model = ScriptedModel(["Both are fine.", "You are welcome."])
    agent = open_it(model)
    with pytest.raises(SessionBusy):
        agent.store.begin_turn(session_id, "Thanks", on_busy="reject")
    clock.advance(31)
    assert agent.run(session_id, "Thanks").text == "You are welcome."
    assert runs == ["Rome"]  # the result for Oslo was staged
    texts = [m["content"] for m in SessionManager(agent).get_history(session_id)]
    assert texts == [
        "Compare Oslo and Rome",
        "",
        "Oslo is fine",
        "Rome is fine",
        "Both are fine.",
        "Thanks",
        "You are welcome.",
    ]
    with pytest.raises(TurnSuperseded):
        dying.store.commit_turn(turn, [result, Message("tool", "?", tool_call_id="b")])
    agent.shutdown()
    dying.shutdown()


def test_many_threads_may_chat_in_many_sessions(open_manager: Open) -> None:
    manager = open_manager(lambda messages: f"{len(messages)}")
    sessions = [manager.create_or_resume_session() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(lambda session_id: manager.chat(session_id, "?"), sessions))
    for session_id in sessions:
        assert manager.get_history(session_id)[-1]["content"] == "9"
