"""Turns of agents that share a cache in memory, and a tool that counts its runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from miniagent_redis.agent import Agent, AgentConfig, History, TurnOutcome
from miniagent_redis.errors import ToolError
from miniagent_redis.llm import ScriptedModel, ToolCall
from miniagent_redis.models import Event, Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.runtime.pausing import without_pauses
from miniagent_redis.tools import ToolRegistry
from tests.support.one_turn import Context


class MemoryCache:
    """Entries in a dict, each found as if computing it had taken two seconds."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ttls: list[float] = []
        self.before_looking: Callable[[Callable[[], object]], None] = lambda check: None

    def __call__(self, key: str, *, timeout: float | None, check: Callable[[], object]) -> Looked:
        return Looked(self, key, check)


class Looked:
    def __init__(self, cache: MemoryCache, key: str, check: Callable[[], object]) -> None:
        self._cache, self._key, self._check = cache, key, check
        self.is_hit, self.value, self.saved_seconds = False, cast(Any, None), 0.0

    def keep(self, value: Any, ttl: float) -> None:
        self._cache.values[self._key] = value
        self._cache.ttls.append(ttl)

    def begin(self) -> None:
        self._cache.before_looking(self._check)
        self.is_hit = self._key in self._cache.values
        self.value = self._cache.values.get(self._key)
        self.saved_seconds = 2.0 if self.is_hit else 0.0

    def end(self) -> None:
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
        agent = Agent(AgentConfig(model=model, **config), tools, self.cache)
        self.events = []
        turn = agent.stream_turn(
            History(history),
            [Message("user", text)],
            Context(session=session, user=user, clock=ManualClock()),
        )
        events = without_pauses(turn)
        while True:
            try:
                self.events.append(next(events))
            except StopIteration as end:
                return cast(TurnOutcome, end.value)

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type.value == kind]


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
