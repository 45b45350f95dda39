"""What turns took is counted once in every total, however the turns come to their end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    Message,
    ModelError,
    Price,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
    ToolRegistry,
    TurnResult,
    TurnSuperseded,
    UsageTotals,
)
from miniagent_redis.llm import (
    Finish,
    ModelEvent,
    ModelRequest,
    ScriptedModel,
    TextDelta,
    ToolCall,
    Usage,
)
from miniagent_redis.runtime.clock import ManualClock, SystemClock
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]
LIMIT = 20.0
SETTINGS: dict[str, Any] = {"prices": {"stepwise": Price(input=1, output=2)}, "delta_interval": 0}
STEP = (80, 20, 120e-6)
TWO_STEPS = (160, 40, 240e-6)


class Stepwise:
    """Looks something up, 100 tokens, then answers, 100 more; ``then`` is done in between."""

    name = "stepwise"

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.then = then

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        if request.messages[-1].role == "tool":
            self.then()
            yield TextDelta("found ")
            yield TextDelta("it")
        else:
            yield ToolCall("1", "look")
        yield Usage(80, 20)
        yield Finish()


@pytest.fixture
def tools() -> ToolRegistry:
    registry = ToolRegistry()

    @registry.tool
    def look() -> str:
        return "here"

    return registry


class Pause:
    """Something that is begun and goes on when it is told to."""

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.began.set()
        assert self.may_end.wait(LIMIT)

    def in_a_turn_of(self, manager: SessionManager) -> tuple[str, Future[TurnResult]]:
        """Return a new session of ada, and its turn, which has come to this."""
        session_id = manager.create_or_resume_session("ada")
        future = manager.agent.submit(session_id, "x")
        assert self.began.wait(LIMIT)
        return session_id, future


def every_total(manager: SessionManager, session_id: str) -> list[UsageTotals]:
    totals = [manager.usage(session_id=session_id), *derived_totals(manager)]
    assert len({total.total_tokens for total in totals}) == 1
    return totals


def derived_totals(manager: SessionManager) -> list[UsageTotals]:
    day = datetime.fromtimestamp(manager.store.clock.time(), UTC).date()
    return [manager.usage(user_id="ada"), manager.usage(day=day), manager.usage()]


def tokens_and_cost(total: UsageTotals) -> tuple[int, int, float]:
    return total.input_tokens, total.output_tokens, total.cost


def test_a_cancelled_turn_counts_with_the_steps_it_took(
    open_manager: Open, tools: ToolRegistry
) -> None:
    pause = Pause()
    manager = open_manager(Stepwise(pause), tools, **SETTINGS)
    session_id, future = pause.in_a_turn_of(manager)
    assert manager.cancel(session_id)
    pause.may_end.set()
    assert future.result(LIMIT).interrupted
    for total in every_total(manager, session_id):
        assert (total.turns, total.failed_turns) == (1, 0)
        assert tokens_and_cost(total) == pytest.approx(STEP)


@pytest.mark.parametrize("by", ["its store", "clearing"])
def test_a_turn_that_others_dropped_was_paid_for_all_the_same(
    open_manager: Open, tools: ToolRegistry, by: str
) -> None:
    pause = Pause()
    manager = open_manager(Stepwise(pause), tools, on_busy="interrupt", **SETTINGS)
    other = open_manager("demo")
    session_id, future = pause.in_a_turn_of(manager)
    if by == "clearing":
        other.clear_history(session_id)
    else:
        manager.agent.store.begin_turn(session_id, "y", on_busy="interrupt")
    pause.may_end.set()
    with pytest.raises(TurnSuperseded):
        future.result(LIMIT)
    other.store.parts.usage.flush()
    for total in every_total(manager, session_id):
        assert (total.turns, total.failed_turns) == (0, 1)
        assert tokens_and_cost(total) == pytest.approx(STEP)


def test_a_turn_that_a_message_ended_counts_with_the_steps_it_took(
    open_manager: Open, tools: ToolRegistry
) -> None:
    pause = Pause()
    manager = open_manager(Stepwise(pause), tools, on_busy="interrupt", **SETTINGS)
    other = open_manager(lambda messages: "quick", on_busy="interrupt")
    session_id, future = pause.in_a_turn_of(manager)
    other.chat(session_id, "y")
    pause.may_end.set()
    assert future.result(LIMIT).interrupted
    other.store.parts.usage.flush()
    for total in every_total(manager, session_id):
        assert (total.turns, total.failed_turns) == (2, 0)
        assert tokens_and_cost(total)[:2] == STEP[:2]  # whoever ends it knows no price


def test_a_stream_that_is_closed_after_its_turn_was_interrupted_counts_once(
    open_manager: Open, tools: ToolRegistry
) -> None:
    manager = open_manager(Stepwise(), tools, **SETTINGS)
    other = open_manager(lambda messages: "quick", on_busy="interrupt")
    session_id = manager.create_or_resume_session("ada")
    events = manager.agent.stream(session_id, "x")
    while next(events).type is not EventType.TOOL_RESULT:
        pass
    other.chat(session_id, "y")
    events.close()
    other.store.parts.usage.flush()
    for total in every_total(manager, session_id):
        assert (total.turns, total.failed_turns) == (2, 0)
        assert tokens_and_cost(total)[:2] == STEP[:2]  # whoever ends it knows no price


def test_a_turn_that_fails_after_a_step_is_stored_and_counts_with_it(
    open_manager: Open, tools: ToolRegistry
) -> None:
    def fail() -> None:
        raise RuntimeError("broken")

    manager = open_manager(Stepwise(fail), tools, **SETTINGS)
    session_id = manager.create_or_resume_session("ada")
    with pytest.raises(ModelError, match="broken"):
        manager.run(session_id, "x")
    for total in every_total(manager, session_id):
        assert (total.turns, total.failed_turns) == (1, 0)
        assert tokens_and_cost(total) == pytest.approx(STEP)


def test_a_turn_of_a_session_that_was_ended_meanwhile_counts_for_its_user(
    open_manager: Open, tools: ToolRegistry
) -> None:
    pause = Pause()
    manager = open_manager(Stepwise(pause), tools, **SETTINGS)
    session_id, future = pause.in_a_turn_of(manager)
    manager.end_session(session_id)
    pause.may_end.set()
    with pytest.raises(SessionNotFound):
        future.result(LIMIT)
    for total in derived_totals(manager):
        assert (total.turns, total.failed_turns) == (0, 1)
        assert tokens_and_cost(total) == pytest.approx(STEP)


@pytest.mark.parametrize("first", ["died", "sleeps"])
def test_a_turn_that_is_taken_over_counts_once(
    store_url: str, tools: ToolRegistry, first: str
) -> None:
    clock, pause = ManualClock(), Pause()

    def open_it(model: Stepwise) -> SessionManager:
        config = AgentConfig(model=model, **SETTINGS)
        redis = RedisConfig(url=store_url)
        agent = SessionAgent(config, tools, redis_config=redis, clock=clock)
        return SessionManager(agent.initialize())

    sleeper, other = open_it(Stepwise(pause)), open_it(Stepwise())
    session_id = other.create_or_resume_session("ada")
    future = None
    if first == "sleeps":
        future = sleeper.agent.submit(session_id, "x")
        assert pause.began.wait(LIMIT)
        sleeper.agent.background.stop()
    else:
        turn = sleeper.store.begin_turn(session_id, "x")
        usage = {"input_tokens": 80, "output_tokens": 20}
        wish = Message("assistant", "", (ToolCall("1", "look"),), metadata={"usage": usage})
        sleeper.store.stage_step(turn, [wish])
    clock.advance(31)
    resumed = other.resume_turn(session_id)
    assert resumed is not None
    assert resumed.usage.total_tokens == 200
    pause.may_end.set()
    if future:
        assert future.result(LIMIT) == resumed  # as the other one stored it
    sleeper.agent.shutdown()
    for total in every_total(other, session_id):
        assert (total.turns, total.failed_turns) == (1, 0)
        assert tokens_and_cost(total) == pytest.approx(TWO_STEPS)
    other.agent.shutdown()


def test_a_turn_that_goes_through_the_spool_counts_once(
    server: RedisServer, tools: ToolRegistry, tmp_path: Path
) -> None:
    redis = RedisConfig(url=server.url, commit_timeout=0.1, spool_dir=str(tmp_path))
    config = AgentConfig(model=Stepwise(server.kill), **SETTINGS)
    with SessionAgent(config, tools, redis_config=redis) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session("ada")
        assert not manager.run(session_id, "x").persisted
        server.start()
        for _ in range(2):
            agent.background.run_all()
            for total in every_total(manager, session_id):
                assert (total.turns, total.failed_turns) == (1, 0)
                assert tokens_and_cost(total) == pytest.approx(TWO_STEPS)


@pytest.mark.parametrize(
    ("reply", "stored"),
    [
        ((Usage(50, 5), "half an ans", OSError("gone")), True),
        ((Usage(50, 5), OSError("gone")), False),
        ((Usage(50, 5), Finish("length")), False),
        ((Usage(50, 5), ToolCall("1", "look")), False),  # one step too many
    ],
)
def test_a_reply_that_is_of_no_use_was_paid_for(
    open_manager: Open, tools: ToolRegistry, reply: Any, stored: bool
) -> None:
    manager = open_manager(ScriptedModel([reply]), tools, max_steps=1)
    session_id = manager.create_or_resume_session("ada")
    with pytest.raises(ModelError):
        manager.chat(session_id, "x")
    for total in every_total(manager, session_id):
        assert (total.turns, total.failed_turns) == ((1, 0) if stored else (0, 1))
        assert (total.input_tokens, total.output_tokens) == (50, 5)


def test_a_cancelled_reply_counts_as_far_as_the_model_told(open_manager: Open) -> None:
    pause = Pause()

    class Slow:
        def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
            yield Usage(50, 1)
            pause()
            yield TextDelta("half")
            yield Usage(0, 4)
            yield Finish()

    manager = open_manager(Slow(), delta_interval=0)
    session_id, future = pause.in_a_turn_of(manager)
    assert manager.cancel(session_id)
    pause.may_end.set()
    assert future.result(LIMIT).usage == Usage(50, 1)
    for total in every_total(manager, session_id):
        assert (total.input_tokens, total.output_tokens) == (50, 1)


def test_a_turn_counts_for_the_day_that_the_server_has(redis_url: str) -> None:
    class DayAhead(SystemClock):
        def time(self) -> float:
            return super().time() + 86_400

    config = RedisConfig(url=redis_url)
    with SessionAgent(redis_config=config, clock=DayAhead()) as agent:
        manager = SessionManager(agent)
        days = {datetime.now(UTC).date()}
        manager.chat(manager.create_or_resume_session("ada"), "Hello")
        days.add(datetime.now(UTC).date())  # another one at midnight
        assert sum(manager.usage(day=day).turns for day in days) == 1
