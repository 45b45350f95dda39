"""What an agent takes from a cache, what is the same request, and what is never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Any, cast

import attrs
import pytest

from miniagent_redis.agent import Agent, AgentConfig, TurnOutcome
from miniagent_redis.agent.caching import cache_name
from miniagent_redis.clock import ManualClock
from miniagent_redis.codec import converter
from miniagent_redis.errors import InvalidInput, ModelError, ToolError, TurnSuperseded
from miniagent_redis.llm import Block, Finish, Reply, ScriptedModel, TextDelta, ToolCall, Usage
from miniagent_redis.models import Event, Message
from miniagent_redis.tools import ToolRegistry, call_tool
from miniagent_redis.tools.canonical import canonical_arguments

LIMIT = 20  # seconds


class MemoryCache:
    """Entries in a dict, each found as if computing it had taken two seconds."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ttls: list[float] = []
        self.before_looking: Callable[[Callable[[], None]], None] = lambda check: None

    def __call__(self, key: str, *, timeout: float | None, check: Callable[[], None]) -> Looked:
        self.before_looking(check)
        return Looked(self, key)


class Looked:
    def __init__(self, cache: MemoryCache, key: str) -> None:
        self._cache, self._key = cache, key
        self.is_hit, self.value = key in cache.values, cache.values.get(key)
        self.saved_seconds = 2.0 if self.is_hit else 0.0

    def keep(self, value: Any, ttl: float) -> None:
        self._cache.values[self._key] = value
        self._cache.ttls.append(ttl)

    def __enter__(self) -> Looked:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Turns:
    """Turns of agents that share a cache; ``events`` are those of the last one."""

    def __init__(self) -> None:
        self.cache = MemoryCache()
        self.events: list[Event] = []

    def run(
        self,
        *replies: Any,
        tools: ToolRegistry | None = None,
        user: str | None = "ada",
        session: str = "s",
        text: str = "Hi",
        history: tuple[Message, ...] = (),
        **config: Any,
    ) -> TurnOutcome:
        model = ScriptedModel(replies)
        model.name = config.pop("model_name", "m")  # type: ignore[attr-defined]
        agent = Agent(
            AgentConfig(model=model, **config), tools, ManualClock(), cast(Any, self.cache)
        )
        self.events = []
        turn = agent.stream_turn(
            history,
            [Message("user", text)],
            turn_id="t",
            session_id=session,
            user_id=user,
            stage=lambda messages: None,
        )
        while True:
            try:
                self.events.append(next(turn))
            except StopIteration as end:
                return cast(TurnOutcome, end.value)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type.value == kind]


@pytest.fixture
def turns() -> Turns:
    return Turns()


class Weather:
    """A tool that counts its runs."""

    def __init__(self, **options: Any) -> None:
        self.runs = 0
        self.tools = ToolRegistry()
        self.tools.add(self.weather, **{"cache_ttl": 60, **options})

    def weather(self, city: str, days: float = 1) -> str:
        self.runs += 1
        if city == "nowhere":
            raise ToolError("no such city")
        return f"{city}: fine"

    def ask(self, turns: Turns, *, city: str = "Oslo", days: Any = None, **options: Any) -> Any:
        arguments = {"city": city} if days is None else {"city": city, "days": days}
        call = ToolCall("a", "weather", arguments)
        return turns.run(call, "Done", tools=self.tools, **options)


# --- tools ------------------------------------------------------------------------------------


def test_a_tool_is_not_run_again_for_the_same_arguments(turns: Turns) -> None:
    tool = Weather()
    first, again = tool.ask(turns), tool.ask(turns)
    assert tool.runs == 1
    assert turns.cache.ttls == [60]
    assert [turn.steps[1].text for turn in (first, again)] == ["Oslo: fine"] * 2
    assert first.steps[1].metadata == {}
    assert again.steps[1].metadata == {"cached": True, "saved_seconds": 2.0}
    assert (first.cache_hits, first.saved_seconds) == (0, 0)
    assert (again.cache_hits, again.saved_seconds, again.saved_tokens) == (1, 2.0, 0)


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
    assert tool.ask(turns, days="many").steps[1].metadata == {"is_error": True}
    assert turns.cache.values == {}


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
        ToolRegistry().tool(**options)(where)


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

    def wait(check: Callable[[], None]) -> None:
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
        turn = Agent(
            AgentConfig(model=model), tool.tools, clock, cast(Any, turns.cache)
        ).stream_turn(
            (), [Message("user", "Hi")], turn_id="t", session_id="s", stage=len, stop=stop
        )
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


# --- canonical arguments ------------------------------------------------------------------------


class Unit(Enum):
    METRIC = "metric"


@attrs.frozen
class Place:
    name: str
    tags: frozenset[str] = frozenset()


def where(place: Place, units: Unit = Unit.METRIC, limit: float = 3) -> None: ...


@pytest.mark.parametrize(
    "arguments",
    [
        {"place": {"name": "x", "tags": ["b", "a"]}},
        {"limit": 3, "place": {"tags": ["a", "b", "a"], "name": "x"}},
        {"units": "metric", "place": {"name": "x", "tags": ["a", "b"]}, "limit": 3.0},
    ],
)
def test_equal_calls_have_equal_arguments(arguments: Any) -> None:
    tool = ToolRegistry().add(where)
    assert canonical_arguments(tool, arguments) == (
        '{"limit":3.0,"place":{"name":"x","tags":["a","b"]},"units":"metric"}'
    )


def test_arguments_that_do_not_fit_have_no_form() -> None:
    tool = ToolRegistry().add(where)
    with pytest.raises(ToolError, match="'place' is missing"):
        canonical_arguments(tool, {})


def opaque(value: str) -> Any:
    return object()


def test_what_has_no_json_is_taken_as_it_was_sent() -> None:
    @attrs.frozen
    class Opaque:
        value: str = attrs.field(converter=opaque)

    def look(it: Opaque) -> None: ...

    registry = ToolRegistry()
    # The class is local to this function, so its name cannot be looked up.
    look.__annotations__["it"] = Opaque
    tool = registry.add(look)
    assert canonical_arguments(tool, {"it": {"value": "a"}}) == '{"it":{"value":"a"}}'
    assert not call_tool(registry, ToolCall("a", "look", {"it": {"value": "a"}})).is_error


# --- models -----------------------------------------------------------------------------------


def test_a_model_is_not_asked_the_same_again(turns: Turns) -> None:
    first = turns.run(["Hel", "lo", Usage(10, 5)], model_cache_ttl=60)
    assert turns.told("cache_miss") == [{"what": "model", "name": CACHED_NAME}]
    again = turns.run(model_cache_ttl=60)  # its script is empty
    assert (first.text, again.text) == ("Hello", "Hello")
    assert turns.told("text_delta") == [{"text": "Hello"}]
    assert turns.told("cache_hit") == [
        {"what": "model", "name": CACHED_NAME, "saved_seconds": 2.0, "saved_tokens": 15}
    ]
    assert (first.usage, again.usage) == (Usage(10, 5), Usage())
    assert (again.cache_hits, again.saved_seconds, again.saved_tokens) == (1, 2.0, 15)
    assert again.steps[0].metadata == {"cached": True, "saved_seconds": 2.0, "saved_tokens": 15}


CACHED_NAME = "miniagent_redis.llm.scripted.ScriptedModel:m"


def test_models_are_cached_only_when_that_is_wanted(turns: Turns) -> None:
    turns.run("One")
    assert turns.run("Two").text == "Two"
    assert (turns.cache.values, turns.told("cache_miss")) == ({}, [])


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({"session": "other"}, True),
        ({"model_timeout": 5}, True),
        ({"text": "Ho"}, False),
        ({"user": "eve"}, False),
        ({"system_prompt": "Be brief."}, False),
        ({"temperature": 0.5}, False),
        ({"model_name": "other"}, False),
        ({"tools": Weather().tools}, False),
        ({"history": (Message("user", "a"), Message("assistant", "b"))}, False),
    ],
    ids=lambda value: str(list(value)) if isinstance(value, dict) else str(value),
)
def test_the_same_request_is_told_from_others(turns: Turns, other: Any, is_same: bool) -> None:
    turns.run("One", model_cache_ttl=60)
    assert turns.run("Two", model_cache_ttl=60, **other).text == ("One" if is_same else "Two")


def talk(call_id: str) -> tuple[Message, ...]:
    return (
        Message("user", "a", created_at=len(call_id), turn_id=call_id),
        Message("assistant", tool_calls=(ToolCall(call_id, "f", {"x": 1}),), metadata={"n": 1}),
        Message("tool", "1", tool_call_id=call_id, name="f"),
        Message("assistant", "b"),
    )


def test_ids_and_times_in_the_history_make_no_difference(turns: Turns) -> None:
    turns.run("One", model_cache_ttl=60, history=talk("first"))
    assert turns.run(model_cache_ttl=60, history=talk("other")).text == "One"
    other = [attrs.evolve(message, metadata={"blocks": [1]}) for message in talk("first")]
    assert turns.run("Two", model_cache_ttl=60, history=tuple(other)).text == "Two"


def test_a_turn_with_tools_comes_from_the_cache_as_a_whole(turns: Turns) -> None:
    tool = Weather(cache_ttl=None)
    tool.ask(turns, model_cache_ttl=60)
    again = turns.run(tools=tool.tools, model_cache_ttl=60)
    assert again.text == "Done"
    assert (again.cache_hits, again.tool_calls, tool.runs) == (2, 1, 2)


def test_a_call_id_never_comes_twice_in_one_conversation(turns: Turns) -> None:
    tool = Weather(cache_ttl=None)
    call = ToolCall("b", "weather", {"city": "Oslo"})
    options: Any = {"tools": tool.tools, "model_cache_ttl": 60}
    turns.run(call, "Done", history=talk("a"), **options)
    other = attrs.evolve(call, id="c")
    again = turns.run(other, history=talk("b"), **options)
    assert [call.id for step in again.steps for call in step.tool_calls] == ["c"]
    assert again.text == "Done"


@pytest.mark.parametrize(
    "reply", [["Half", Finish("length")], ["No", Finish("content_filter")], OSError(), [" "]]
)
def test_what_is_no_whole_answer_is_not_kept(turns: Turns, reply: Any) -> None:
    with suppress(ModelError):
        turns.run(reply, model_cache_ttl=60)
    assert turns.cache.values == {}
    assert turns.run("Whole", model_cache_ttl=60).text == "Whole"


def answer(messages: list[dict[str, Any]]) -> str:
    return "Hello"


def test_a_model_must_say_what_it_is_to_be_cached() -> None:
    assert cache_name("openai:x") == "openai:x"
    assert cache_name(answer) == f"{__name__}.answer"
    for nameless in (ScriptedModel([]), lambda messages: ""):
        with pytest.raises(InvalidInput, match="name"):
            Agent(AgentConfig(model=cast(Any, nameless), model_cache_ttl=60))
        Agent(AgentConfig(model=cast(Any, nameless)))


BLOCK = Block("vendor", {"signature": "x", "n": 2**60})


def test_blocks_of_a_provider_come_back(turns: Turns) -> None:
    reply = Reply("Hi", (ToolCall("a", "f", {"x": [1]}),), Usage(1, 2), blocks=(BLOCK,))
    assert converter.structure(converter.unstructure(reply), Reply) == reply
    first = turns.run(["Hi", BLOCK], model_cache_ttl=60)
    again = turns.run(model_cache_ttl=60)
    blocks = [turn.steps[0].metadata["blocks"] for turn in (first, again)]
    assert blocks == [[{"provider": "vendor", "data": BLOCK.data}]] * 2


def test_a_cancelled_turn_waits_no_longer_for_anothers_reply(turns: Turns) -> None:
    cancelled = threading.Event()

    def wait(check: Callable[[], None]) -> None:
        check()
        cancelled.set()
        check()
        pytest.fail("it waits on")

    turns.cache.before_looking = wait
    turn = Agent(AgentConfig(model_cache_ttl=60), cache=cast(Any, turns.cache)).stream_turn(
        (),
        [Message("user", "Hi")],
        turn_id="t",
        session_id="s",
        stage=len,
        is_cancelled=cancelled.is_set,
    )
    with pytest.raises(StopIteration) as end:
        next(turn)
    assert end.value.value.interrupted == "cancelled"


def test_half_an_answer_is_not_kept_when_nobody_listens_any_more(turns: Turns) -> None:
    model = ScriptedModel([["a", "b"]])
    model.name = "m"  # type: ignore[attr-defined]
    config = AgentConfig(model=model, model_cache_ttl=60)
    turn = Agent(config, cache=cast(Any, turns.cache)).stream_turn(
        (), [Message("user", "Hi")], turn_id="t", session_id="s", stage=len
    )
    assert next(turn).text == TextDelta("a").text
    turn.close()
    assert turns.cache.values == {}
