"""Which results of tools come from a cache, which calls are the same, and what is never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import attrs
import pytest

from miniagent_redis.agent import Agent, AgentConfig, History
from miniagent_redis.agent.spent import spent_on
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput, TurnSuperseded
from miniagent_redis.llm import ScriptedModel, ToolCall
from miniagent_redis.models import Message, UsageTotals
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.runtime.pausing import without_pauses
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.tools import ToolRegistry
from tests.support.cached_turns import Turns, Weather
from tests.support.one_turn import LIMIT, Context, Turn


def test_a_tool_is_not_run_again_for_the_same_arguments(turns: Turns) -> None:
    tool = Weather()
    first, again = tool.ask(turns), tool.ask(turns)
    assert tool.runs == 1
    assert turns.cache.ttls == [60]
    assert [turn.steps[1].text for turn in (first, again)] == ["Oslo: fine"] * 2
    assert first.steps[1].metadata == {}
    assert again.steps[1].metadata == {"cached": True, "saved_seconds": 2.0}
    assert (spent_on(first.steps).cache_hits, spent_on(first.steps).saved_seconds) == (0, 0)
    assert spent_on(again.steps) == UsageTotals(tool_calls=1, cache_hits=1, saved_seconds=2.0)


def test_hits_and_misses_are_told(turns: Turns) -> None:
    tool = Weather()
    tool.ask(turns)
    assert turns.told("cache_miss") == [{"what": "tool", "name": "weather"}]
    tool.ask(turns)
    assert turns.told("cache_miss") == []
    assert turns.told("cache_hit") == [
        {"what": "tool", "name": "weather", "saved_seconds": 2.0, "saved_tokens": 0}
    ]
    kinds = [event.type.value for event in turns.events]
    assert kinds.index("cache_hit") == kinds.index("tool_result") - 1


@pytest.mark.parametrize(
    ("other", "runs"),
    [
        ({"session": "other"}, 1),
        ({"days": 1}, 1),
        ({"days": 1.0}, 1),
        ({"days": 2}, 2),
        ({"city": "Rome"}, 2),
        ({"user": "eve"}, 2),
        ({"user": None}, 2),
        ({"max_tool_result": 5}, 2),
    ],
    ids=str,
)
def test_the_same_is_told_from_what_is_not(turns: Turns, other: Any, runs: int) -> None:
    tool = Weather()
    tool.ask(turns)
    tool.ask(turns, **other)
    assert tool.runs == runs


@pytest.mark.parametrize("kept", [5, None, {"x": 1}, ["a"]], ids=repr)
def test_an_entry_that_is_no_result_is_none(turns: Turns, kept: Any) -> None:
    weather = Weather()
    weather.ask(turns)
    (key,) = turns.cache.values
    turns.cache.values[key] = kept
    outcome = weather.ask(turns)
    assert [step.content for step in outcome.steps if step.role == "tool"] == ["Oslo: fine"]
    assert weather.runs == 2


def test_without_a_user_a_result_is_the_sessions_own(turns: Turns) -> None:
    tool = Weather()
    for session in ("s", "s", "other"):
        tool.ask(turns, user=None, session=session)
    assert tool.runs == 2


def test_everybody_gets_what_is_shared(turns: Turns) -> None:
    tool = Weather(shared=True)
    for user in ("ada", "eve", None):
        tool.ask(turns, user=user)
    assert tool.runs == 1


def test_another_tool_of_the_same_name_is_another(turns: Turns) -> None:
    tool, other = Weather(), Weather(description="The weather on the moon.")
    tool.ask(turns)
    other.ask(turns)
    assert (tool.runs, other.runs) == (1, 1)


def test_errors_are_not_kept(turns: Turns) -> None:
    tool = Weather()
    for _ in range(2):
        assert tool.ask(turns, city="nowhere").steps[1].text == "no such city."
    assert tool.runs == 2
    assert tool.ask(turns, days="many").steps[1].metadata == {"is_error": True, "not_run": True}
    assert turns.cache.values == {}


@pytest.mark.parametrize("end", ["timeout", "cancelled", "closed"])
def test_nobody_waits_for_a_tool_that_was_given_up(redis_url: str, end: str) -> None:
    clock, began, release = ManualClock(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []
    tools = ToolRegistry()

    @tools.tool(cache_ttl=60, timeout=5)
    def look() -> str:
        threads.append(threading.current_thread())
        if len(threads) > 1:
            return "found"
        began.set()
        release.wait(LIMIT)
        return "late"

    with RedisSessionManager(RedisConfig(url=redis_url)) as store:

        def turn() -> Turn:
            model = ScriptedModel([ToolCall("a", "look"), "Done"])
            cache = partial(store.parts.flights.flight, lock_ttl=60)
            agent = Agent(AgentConfig(model=model), tools, cache)
            return Turn(agent, is_cancelled=cancelled.is_set, clock=clock)

        cancelled = threading.Event()
        hung = turn()
        hung.next()
        if end == "closed":
            after(began, hung.stop.set)
            with pytest.raises(TurnSuperseded):
                hung.finish()
        else:
            after(began, cancelled.set if end == "cancelled" else lambda: clock.advance(5))
            assert "may still be running" in hung.finish().steps[1].text
        cancelled.clear()
        assert turn().finish().steps[1].text == "found"
        release.set()
        threads[0].join(LIMIT)


def picky(value: str) -> str:
    raise KeyError(value)


@attrs.frozen
class Picky:
    value: str = attrs.field(converter=picky)


def test_arguments_that_a_class_refuses_are_told_to_the_model(turns: Turns) -> None:
    tools = ToolRegistry()

    @tools.tool(cache_ttl=60)
    def look(it: Picky) -> None: ...

    outcome = turns.run(ToolCall("a", "look", {"it": {"value": "x"}}), "Done", tools=tools)
    assert outcome.steps[1].text == "argument 'it' is not usable: 'x'."
    assert (outcome.text, turns.cache.values) == ("Done", {})


def test_partials_that_bind_something_else_are_other_tools(turns: Turns) -> None:
    def price(shop: str, item: str, *, currency: str) -> str:
        return f"{shop}: {item} in {currency}"

    def ask(shop: str, currency: str) -> str:
        tools = ToolRegistry()
        tools.add(partial(price, shop, currency=currency), name="price", cache_ttl=60)
        call = ToolCall("a", "price", {"item": "tea"})
        return turns.run(call, "Done", tools=tools).steps[1].text

    bound = [("A", "EUR"), ("B", "EUR"), ("A", "USD"), ("A", "EUR")]
    assert [ask(*each) for each in bound] == [f"{shop}: tea in {coin}" for shop, coin in bound]
    assert len(turns.cache.values) == 3


def test_without_a_ttl_or_a_cache_tools_run_as_ever(turns: Turns) -> None:
    tool = Weather(cache_ttl=None)
    tool.ask(turns)
    tool.ask(turns)
    assert (tool.runs, turns.told("cache_miss"), turns.cache.values) == (2, [], {})
    turns.cache = cast(Any, None)
    cached = Weather()
    assert cached.ask(turns).steps[1].text == "Oslo: fine"
    assert turns.told("cache_miss") == []


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"cache_ttl": 60, "idempotent": False}, "cannot be cached"),
        ({"cache_ttl": 0}, "cache_ttl"),
        ({"cache_ttl": True}, "cache_ttl"),
        ({"cache_ttl": "60"}, "cache_ttl"),
        ({"shared": True}, "give it a cache_ttl"),
    ],
    ids=str,
)
def test_what_cannot_be_cached_is_refused_at_registration(options: Any, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        ToolRegistry().tool(**options)(Weather().weather)


def after(event: threading.Event, action: Callable[[], None]) -> None:
    """Do it in a thread when the event is set."""

    def wait() -> None:
        assert event.wait(LIMIT)
        action()

    threading.Thread(target=wait).start()


def test_a_call_that_waits_for_anothers_result_ends_with_its_turn(turns: Turns) -> None:
    """Neither a timeout nor a stop leaves anybody waiting, or running the tool for nobody."""
    waits, left = threading.Event(), threading.Event()
    clock = ManualClock()

    def wait(check: Callable[[], object]) -> None:
        waits.set()
        try:
            while True:
                check()
        except BaseException:
            left.set()
            raise

    turns.cache.before_looking = wait
    tool = Weather(timeout=5)
    model = ScriptedModel([ToolCall("a", "weather", {"city": "Oslo"}), "Done"])
    stop = threading.Event()
    for stopped in (False, True):
        waits.clear()
        left.clear()
        model.requests.clear()
        steps = Agent(AgentConfig(model=model), tool.tools, turns.cache).stream_turn(
            History(), [Message("user", "Hi")], Context(is_stopped=stop.is_set, clock=clock)
        )
        turn = without_pauses(steps)
        assert next(turn).type.value == "tool_call"
        if stopped:
            after(waits, stop.set)
            with pytest.raises(TurnSuperseded):
                next(turn)
        else:
            after(waits, lambda: clock.advance(5))
            assert "timed out" in next(turn).data["content"]
            turn.close()
        assert left.wait(LIMIT)
    assert tool.runs == 0
