"""The driver: performs what the loop in steps.py wants done, and tells of it as events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

from attrs import frozen

from .._mirror import raise_if_cancelled
from ..clock import Clock, SystemClock
from ..errors import TurnSuperseded
from ..llm import DemoModel, ModelRequest, Reply, TextDelta, ask, resolve_model
from ..models import Event, EventType, Message, Usage
from ..tools import ToolRegistry, calculator
from .config import AgentConfig
from .steps import AskModel, AwaitTool, Outcome, Stage, StartTools, TurnLoop, usage_of
from .tool_runs import ToolRuns

StageFunction = Callable[[Sequence[Message]], object]


@frozen
class TurnOutcome:
    """A turn that came to its answer.

    ``messages`` are not staged yet: commit them. ``steps`` are all messages after the user's, the
    answer last; ``usage`` and ``tool_calls`` are theirs, including what an earlier holder of a
    resumed turn did.
    """

    messages: tuple[Message, ...]
    steps: tuple[Message, ...]
    text: str
    usage: Usage
    tool_calls: int


class Agent:
    """A model with its instructions and tools. Keeps nothing between turns; safe in threads.

    The demo model is given a ``calculator`` unless ``tools`` has a tool of that name. Tools
    registered later count from the next turn on. Raises InvalidInput or ModelError if the
    configuration's model cannot be had.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: ToolRegistry | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config or AgentConfig()
        self.tools = ToolRegistry() if tools is None else tools
        self.model = resolve_model(self.config.model)
        self._clock = clock or SystemClock()

    def stream_turn(
        self,
        history: Sequence[Message],
        staged: Sequence[Message],
        *,
        turn_id: str,
        session_id: str,
        user_id: str | None = None,
        stage: StageFunction,
        stop: threading.Event | None = None,
    ) -> Generator[Event, None, TurnOutcome]:
        """Work out a turn: yield TEXT_DELTA, TOOL_CALL and TOOL_RESULT events, return the outcome.

        ``history`` is the thread before this turn; ``staged`` this turn's messages so far, the
        user's first (a resumed turn goes on behind the others). ``stage`` is called with each
        message to keep, before the event that tells of it; what it raises ends the turn. When
        ``stop`` is set the turn ends with TurnSuperseded: between two events of the model, or
        within 0.05 s while tools run. A tool that is running then goes on unheeded.

        Text that comes with tool calls is streamed too, but is no part of the outcome's ``text``.
        Blocks while the model or tools work. Raises ModelError when there is no answer. Closing
        the generator closes the model's stream.
        """

        def check() -> None:
            raise_if_cancelled()
            if stop is not None and stop.is_set():
                raise TurnSuperseded(session_id, turn_id)

        def event(kind: EventType, **data: Any) -> Event:
            return Event(kind, session_id, turn_id, data, self._clock.time())

        tools = self._offered_tools()
        loop = TurnLoop(
            config=self.config,
            tools=tools,
            clock=self._clock,
            turn_id=turn_id,
            session_id=session_id,
            user_id=user_id,
        ).run(history, staged)
        steps = list(staged[1:])
        runs: ToolRuns | None = None
        outcome: Outcome = None
        while True:
            check()
            try:
                action = loop.send(outcome)
            except StopIteration as end:
                return _outcome(steps, cast(Message, end.value))
            outcome = None
            match action:
                case AskModel(request):
                    outcome = yield from self._ask(request, event, check)
                case StartTools(calls):
                    for call in calls:
                        yield event(
                            EventType.TOOL_CALL,
                            id=call.id,
                            name=call.name,
                            arguments=call.arguments,
                        )
                    runs = ToolRuns(
                        tools,
                        calls,
                        clock=self._clock,
                        timeout=self.config.tool_timeout,
                        check=check,
                    )
                case AwaitTool():
                    assert runs is not None
                    outcome = runs.next()
                case Stage(messages):
                    stage(messages)
                    steps.extend(messages)
                    for message in messages:
                        if message.role == "tool":
                            yield event(EventType.TOOL_RESULT, **_result_data(message))

    def _ask(
        self,
        request: ModelRequest,
        event: Callable[..., Event],
        check: Callable[[], None],
    ) -> Generator[Event, None, Reply]:
        stream = ask(self.model, request)
        try:
            while True:
                try:
                    piece = next(stream)
                except StopIteration as end:
                    return cast(Reply, end.value)
                check()
                if isinstance(piece, TextDelta) and piece.text:
                    yield event(EventType.TEXT_DELTA, text=piece.text)
        finally:
            stream.close()

    def _offered_tools(self) -> ToolRegistry:
        tools = self.tools.copy()
        if isinstance(self.model, DemoModel) and calculator.__name__ not in tools:
            tools.add(calculator)
        return tools


def _result_data(message: Message) -> dict[str, Any]:
    return {
        "id": message.tool_call_id,
        "name": message.name,
        "content": message.content,
        "is_error": bool(message.metadata.get("is_error")),
    }


def _outcome(steps: Sequence[Message], answer: Message) -> TurnOutcome:
    everything = (*steps, answer)
    return TurnOutcome(
        messages=(answer,),
        steps=everything,
        text=answer.text,
        usage=usage_of(everything),
        tool_calls=sum(len(message.tool_calls) for message in everything),
    )
