"""Limits are checked before the model is asked; what a turn took is on its result and in totals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from miniagent_redis import ModelError, Price, RateLimit, RateLimited, SessionManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, Usage

Open = Callable[..., SessionManager]


class Costly:
    """Each answer takes 100 tokens; counts how often it was asked."""

    name = "costly"

    def __init__(self) -> None:
        self.asked = 0

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.asked += 1
        yield Usage(80, 20, 40)
        if request.messages[-1].text == "fail":
            raise RuntimeError("broken")
        yield TextDelta("yes")
        yield Finish("stop")


def test_a_limited_request_does_not_reach_the_model(open_manager: Open) -> None:
    model = Costly()
    limits = [RateLimit(per="user", requests=2, window=1_000_000)]
    manager = open_manager(model, rate_limits=limits)
    first, second = (manager.create_or_resume_session("ada") for _ in range(2))
    manager.chat(first, "x")
    manager.chat(second, "x", user_id="ada")  # the same user, looked up or told
    for user_id in (None, "ada"):
        with pytest.raises(RateLimited) as caught:
            manager.chat(first, "x", user_id=user_id)
        assert caught.value.rule == limits[0]
    assert model.asked == 2
    assert len(manager.get_history(first)) == 2
    manager.chat(manager.create_or_resume_session("eve"), "x")


def test_tokens_are_charged_when_the_turn_has_ended(open_manager: Open) -> None:
    limits = [RateLimit(per="namespace", tokens=150, window=1_000_000)]
    manager = open_manager(Costly(), rate_limits=limits)
    session_id = manager.create_or_resume_session()
    manager.chat(session_id, "x")
    manager.chat(session_id, "x")  # overshoots
    with pytest.raises(RateLimited, match="150 tokens per namespace"):
        manager.chat(session_id, "x")


def test_a_result_tells_what_it_took_and_totals_add_it_up(open_manager: Open) -> None:
    prices = {"costly": Price(input=2.5, output=10, cached=1.25)}
    manager = open_manager(Costly(), prices=prices)
    session_id = manager.create_or_resume_session("ada")
    result = manager.run(session_id, "x")
    cost = (40 * 2.5 + 40 * 1.25 + 20 * 10) / 1e6
    assert result.cost == pytest.approx(cost)
    assert result.seconds > 0
    assert (result.tool_calls, result.cache_hits) == (0, 0)
    manager.run(session_id, "x")
    for found in (
        manager.usage(),
        manager.usage(user_id="ada"),
        manager.usage(session_id=session_id),
    ):
        assert (found.turns, found.total_tokens, found.cached_tokens) == (2, 200, 80)
        assert found.cost == pytest.approx(2 * cost)
        assert (found.failed_turns, found.unpriced_turns) == (0, 0)


def test_a_model_without_a_price_costs_nobody_knows_what(open_manager: Open) -> None:
    manager = open_manager(Costly())
    assert manager.run(manager.create_or_resume_session(), "x").cost is None
    assert (manager.usage().cost, manager.usage().unpriced_turns) == (0, 1)


def test_a_failed_turn_is_counted_as_one(open_manager: Open) -> None:
    manager = open_manager(Costly())
    session_id = manager.create_or_resume_session()
    with pytest.raises(ModelError, match="broken"):
        manager.run(session_id, "fail")
    for found in (manager.usage(), manager.usage(session_id=session_id)):
        assert (found.turns, found.failed_turns) == (0, 1)


def test_tool_calls_are_counted(open_manager: Open) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session()
    assert manager.run(session_id, "What is 6 * 7?").tool_calls == 1
    assert manager.usage(session_id=session_id).tool_calls == manager.usage().tool_calls == 1
