"""One turn of an agent with a scripted model, and all that is heard of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from miniagent_redis.agent import Agent, AgentConfig, History, TurnContext, TurnOutcome
from miniagent_redis.llm import ScriptedModel
from miniagent_redis.models import Event, Message
from miniagent_redis.runtime.clock import Clock
from miniagent_redis.runtime.pausing import without_pauses
from miniagent_redis.tools import ToolRegistry

LIMIT = 20  # seconds: generous, for waits that a right program ends at once


class Context(TurnContext):
    """A turn whose messages and wishes are a test's."""

    def __init__(
        self,
        *,
        stage: Callable[[Sequence[Message]], object] = lambda messages: None,
        is_stopped: Callable[[], bool] = lambda: False,
        is_cancelled: Callable[[], bool] = lambda: False,
        session: str = "s",
        user: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(session, "t", user, clock=clock)
        self._stage, self._is_stopped, self._is_cancelled = stage, is_stopped, is_cancelled

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped()

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled()

    def stage(self, messages: Sequence[Message]) -> Sequence[str]:
        self._stage(messages)
        return ()


class Turn:
    """One turn, with all that was heard of it."""

    def __init__(self, agent: Agent, text: str = "Hi", **options: Any) -> None:
        self.events: list[Event] = []
        self.staged: list[Message] = []
        self.stop = threading.Event()
        options.setdefault("stage", self.stage)
        options.setdefault("staged", [Message("user", text)])
        turn = agent.stream_turn(
            History(options.pop("history", ())),
            options.pop("staged"),
            Context(is_stopped=self.stop.is_set, **options),
        )
        self.generator = without_pauses(turn)

    def stage(self, messages: Sequence[Message]) -> None:
        self.staged.extend(messages)

    def next(self) -> Event:
        event = next(self.generator)
        self.events.append(event)
        return event

    def finish(self) -> TurnOutcome:
        while True:
            try:
                self.next()
            except StopIteration as end:
                return cast(TurnOutcome, end.value)

    def kinds(self) -> list[str]:
        return [event.type.value for event in self.events]


def scripted(*replies: Any, tools: ToolRegistry | None = None, **config: Any) -> Agent:
    return Agent(AgentConfig(model=ScriptedModel(replies), **config), tools)
