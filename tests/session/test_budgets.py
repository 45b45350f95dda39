"""Budgets: what is not left is not spent, whoever asks, and what was done is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Budget,
    BudgetExceeded,
    InvalidInput,
    Price,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolRegistry,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall, Usage
from miniagent_redis.runtime.clock import ManualClock
from tests.support.stored import dump

Open = Callable[..., SessionManager]


class Costly:
    """Takes 100 tokens for each request; calls a tool first if it is asked to ``look``."""

    name = "costly"

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.asked += 1
        assert self.may_answer.wait(30)
        if request.messages[-1].text == "look":
            yield ToolCall("1", "look", {})
        else:
            yield TextDelta("Fine.")
        yield Usage(90, 10)
        yield Finish()


def until_it_is_spent(manager: SessionManager, session_id: str) -> BudgetExceeded:
    """Go on until a budget is used up; return what is said of it."""
    for _ in range(100):
        try:
            manager.chat(session_id, "Hi")
        except BudgetExceeded as exc:
            return exc
    raise AssertionError("it has no end")


def test_a_user_who_has_spent_it_all_is_refused_before_the_model_is_asked(
    open_manager: Open,
) -> None:
    model = Costly()
    managers = [
        open_manager(model, max_tokens=50, budgets=[Budget(per="user", tokens=290)])
        for _ in range(2)
    ]
    session_ids = [managers[0].create_or_resume_session(user) for user in ("ada", "ada", "bob")]
    managers[0].chat(session_ids[0], "Hi")
    managers[1].chat(session_ids[1], "Hi")
    refused = until_it_is_spent(managers[1], session_ids[0])
    assert model.asked == 3
    assert (refused.left, refused.unit, refused.retry_after) == (0, "tokens", None)
    assert "290 tokens per user" in str(refused)
    managers[1].chat(session_ids[2], "Hi")
    assert len(managers[0].get_history(session_ids[0])) == 4


def test_a_turn_that_meets_it_in_the_middle_is_kept(open_manager: Open) -> None:
    ran: list[str] = []
    tools = ToolRegistry()

    @tools.tool
    def look() -> str:
        ran.append("once")
        return "found"

    manager = open_manager(Costly(), tools, max_tokens=50, budgets=[Budget(per="turn", tokens=120)])
    session_id = manager.create_or_resume_session("ada")
    with pytest.raises(BudgetExceeded) as caught:
        manager.chat(session_id, "look")
    assert ran == ["once"]
    assert len(caught.value.steps) >= 2
    roles = [message["role"] for message in manager.get_history(session_id)]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert manager.chat(session_id, "And?") == "Fine."  # each turn has its own
    assert ran == ["once"]


def test_requests_that_are_under_way_count_with_what_they_may_take(open_manager: Open) -> None:
    model = Costly()
    model.may_answer.clear()
    manager = open_manager(model, max_tokens=100, budgets=[Budget(per="namespace", tokens=450)])
    session_ids = [manager.create_or_resume_session(f"u{n}") for n in range(8)]

    def ask(session_id: str) -> object:
        try:
            return manager.chat(session_id, "Hi")
        except BudgetExceeded as exc:
            if model.asked:
                model.may_answer.set()
            return exc

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, session_ids))
    assert answers.count("Fine.") == model.asked < 5


def test_money_needs_a_price_and_is_spent_by_it(open_manager: Open) -> None:
    budgets = [Budget(per="session", cost=0.001)]
    with pytest.raises(InvalidInput, match="price of the model 'costly'"):
        open_manager(Costly(), budgets=budgets)
    model, price = Costly(), Price(input=1.0, output=10.0)  # 90 and 100 millionths a request
    manager = open_manager(model, max_tokens=15, budgets=budgets, prices={"costly": price})
    session_id = manager.create_or_resume_session()
    refused = until_it_is_spent(manager, session_id)
    assert model.asked == 5
    assert refused.left == pytest.approx(0.00005)
    assert refused.unit == "USD"


def test_replies_from_the_cache_cost_nothing(open_manager: Open) -> None:
    model = Costly()
    manager = open_manager(
        model, model_cache_ttl=60, max_tokens=20, budgets=[Budget(per="user", tokens=150)]
    )
    for _ in range(5):
        manager.chat(manager.create_or_resume_session("ada"), "Hi")
    assert model.asked == 1


@pytest.mark.parametrize(
    ("every", "begins"), [("day", datetime(2024, 2, 29)), ("month", datetime(2024, 3, 1))]
)
def test_a_new_day_or_month_begins_anew(every: Any, begins: datetime) -> None:
    clock = ManualClock(datetime(2024, 2, 28, 12, tzinfo=UTC).timestamp())
    config = AgentConfig(
        model=Costly(), max_tokens=20, budgets=[Budget(per="user", tokens=110, every=every)]
    )
    redis_config = RedisConfig(url="memory://", session_ttl=None)
    with SessionAgent(config, redis_config=redis_config, clock=clock) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session("ada")
        manager.chat(session_id, "Hi")
        with pytest.raises(BudgetExceeded) as caught:
            manager.chat(session_id, "Hi")
        assert caught.value.retry_after is not None
        assert clock.time() + caught.value.retry_after == begins.replace(tzinfo=UTC).timestamp()
        clock.advance(caught.value.retry_after - 1)
        with pytest.raises(BudgetExceeded):
            manager.chat(session_id, "Hi")
        clock.advance(1)
        manager.chat(session_id, "Hi")


def test_nothing_of_a_user_who_is_forgotten_stays(open_manager: Open) -> None:
    budgets = [Budget(per="user", tokens=1000), Budget(per="session", tokens=1000, every="month")]
    manager = open_manager(Costly(), max_tokens=20, budgets=budgets)
    manager.chat(manager.create_or_resume_session("ada"), "Hi")
    manager.forget_user("ada")
    assert not [key for key in dump(manager.store.client) if "budget" in key]
