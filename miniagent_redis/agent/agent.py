"""The driver: performs what the loop in steps.py wants done, and tells of it as events."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from copy import deepcopy
from typing import Any, cast

from attrs import astuple, frozen

from .._mirror import raise_if_cancelled
from ..clock import Clock, SystemClock
from ..errors import IncompleteResponse, ModelError, TurnSuperseded
from ..llm import DemoModel, ModelRequest, Reply, TextDelta, resolve_model
from ..models import Event, EventType, Message, ToolResult, Usage
from ..tools import ToolRegistry, calculator
from .caching import Cache, TurnCache, cache_name, saved_by_cache
from .config import AgentConfig
from .steps import AskModel, AwaitTool, Outcome, Stage, StartTools, TurnLoop, usage_of
from .tool_runs import ToolRuns

StageFunction = Callable[[Sequence[Message]], object]


@frozen
class TurnOutcome:
    """A turn that came to its answer.

    ``messages`` are not staged yet: commit them. ``steps`` are all messages after the user's, the
    answer last; ``usage``, ``tool_calls``, ``cache_hits`` and what these saved are theirs, what an
    earlier holder of a resumed turn did included.
    """

    messages: tuple[Message, ...]
    steps: tuple[Message, ...]
    text: str
    usage: Usage
    tool_calls: int
    cache_hits: int = 0
    saved_seconds: float = 0.0
    saved_tokens: int = 0
    interrupted: str = ""
    """Why the answer is only the beginning of one, as ``Reply.interrupted``; else empty."""
    error: IncompleteResponse | None = None
    """What broke the answer off: to be raised when the turn is stored."""


class _Cancelled(Exception):
    """The turn was cancelled while it waited for a reply that another one was given."""


class Agent:
    """A model with its instructions and tools. Keeps nothing between turns; safe in threads.

    The demo model is given a ``calculator`` unless ``tools`` has a tool of that name. Tools
    registered later count from the next turn on. Raises InvalidInput or ModelError if the
    configuration's model cannot be had. Without a ``cache`` nothing is cached.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: ToolRegistry | None = None,
        clock: Clock | None = None,
        cache: Cache | None = None,
    ) -> None:
        self.config = config or AgentConfig()
        self.tools = ToolRegistry() if tools is None else tools
        self.model = resolve_model(self.config.model)
        is_cached = self.config.model_cache_ttl is not None
        self._cache_name = cache_name(self.config.model) if is_cached else ""
        self._cache = cache
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
        is_stopped: Callable[[], bool] = lambda: False,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Generator[Event, None, TurnOutcome]:
        """Work out a turn: yield what the model and the tools do as events, return the outcome.

        ``history`` is the thread before this turn; ``staged`` this turn's messages so far, the
        user's first (a resumed turn goes on behind the others). ``stage`` is called with each
        message to keep, before the event that tells of it; what it raises ends the turn. Once
        ``is_stopped`` the turn ends with TurnSuperseded: between two events of the model, or
        within 0.05 s while tools run. A tool that is running then goes on unheeded. Once
        ``is_cancelled``, at the same moments, it ends with what there is of the answer; so does an
        answer that breaks off (the outcome's ``error``), if there is anything of it.

        Text that comes with tool calls is streamed too, but is no part of the outcome's ``text``.
        Blocks while the model or tools work. Raises ModelError when there is no answer. Closing
        the generator closes the model's stream.
        """

        def check() -> None:
            raise_if_cancelled()
            if is_stopped():
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
        cache = TurnCache(self._cache, session_id, user_id)
        steps = list(staged[1:])
        runs: ToolRuns | None = None
        broken: IncompleteResponse | None = None
        outcome: Outcome = None
        try:
            while True:
                check()
                try:
                    action = loop.send(outcome)
                except StopIteration as end:
                    return _outcome(steps, cast(Message, end.value), broken)
                except ModelError as exc:
                    if isinstance(outcome, Reply):  # it is of no use, and was paid for
                        exc.tokens = astuple(outcome.usage)
                    raise
                outcome = None
                match action:
                    case AskModel(request):
                        outcome, broken = yield from self._ask(
                            request, cache, event, check, is_cancelled
                        )
                        yield from _told_of_cache(event, "model", self._cache_name, outcome)
                    case StartTools(calls):
                        for call in calls:
                            yield event(
                                EventType.TOOL_CALL,
                                id=call.id,
                                name=call.name,
                                arguments=deepcopy(call.arguments),  # the tool gets them too
                            )
                        runs = ToolRuns(
                            tools,
                            calls,
                            clock=self._clock,
                            timeout=self.config.tool_timeout,
                            longest=self.config.max_tool_result,
                            check=check,
                            is_cancelled=is_cancelled,
                            cache=cache,
                        )
                    case AwaitTool():
                        assert runs is not None
                        outcome = runs.next()
                        yield from _told_of_cache(event, "tool", outcome.name, outcome)
                    case Stage(messages):
                        stage(messages)
                        steps.extend(messages)
                        for message in messages:
                            if message.role == "tool":
                                yield event(EventType.TOOL_RESULT, **_result_data(message))
        finally:
            if runs is not None:
                runs.close()

    def _ask(
        self,
        request: ModelRequest,
        cache: TurnCache,
        event: Callable[..., Event],
        check: Callable[[], None],
        is_cancelled: Callable[[], bool],
    ) -> Generator[Event, None, tuple[Reply, IncompleteResponse | None]]:
        """Return the reply, or what there is of it; and what broke it off, if that was an error."""
        text: list[str] = []
        usage = Usage()
        if is_cancelled():
            return Reply(interrupted="cancelled"), None

        def check_waiting() -> None:
            check()
            if is_cancelled():
                raise _Cancelled

        stream = cache.ask(
            self.model,
            request,
            name=self._cache_name,
            ttl=self.config.model_cache_ttl,
            check=check_waiting,
        )
        try:
            while True:
                try:
                    piece = next(stream)
                except StopIteration as end:
                    return cast(Reply, end.value), None
                check()
                if isinstance(piece, Usage):
                    usage += piece
                if isinstance(piece, TextDelta) and piece.text:
                    text.append(piece.text)
                    yield event(EventType.TEXT_DELTA, text=piece.text)
                if is_cancelled():
                    return Reply("".join(text), usage=usage, interrupted="cancelled"), None
        except _Cancelled:
            return Reply(interrupted="cancelled"), None
        except ModelError as exc:
            if isinstance(exc, IncompleteResponse) and exc.text.strip():
                return Reply(exc.text, usage=usage, interrupted="incomplete"), exc
            exc.tokens = astuple(usage)
            raise
        finally:
            stream.close()

    def _offered_tools(self) -> ToolRegistry:
        tools = self.tools.copy()
        if isinstance(self.model, DemoModel) and calculator.__name__ not in tools:
            tools.add(calculator)
        return tools


def _told_of_cache(
    event: Callable[..., Event], what: str, name: str, found: ToolResult | Reply
) -> Iterator[Event]:
    """Yield the event of a look into the cache, if there was one."""
    if found.cached:
        tokens = found.saved_tokens if isinstance(found, Reply) else 0
        saved = {"saved_seconds": found.saved_seconds, "saved_tokens": tokens}
        yield event(EventType.CACHE_HIT, what=what, name=name, **saved)
    elif found.cached is not None:
        yield event(EventType.CACHE_MISS, what=what, name=name)


def _result_data(message: Message) -> dict[str, Any]:
    return {
        "id": message.tool_call_id,
        "name": message.name,
        "content": message.content,
        "is_error": bool(message.metadata.get("is_error")),
    }


def _outcome(
    steps: Sequence[Message], answer: Message, error: IncompleteResponse | None
) -> TurnOutcome:
    everything = (*steps, answer)
    cache_hits, saved_seconds, saved_tokens = saved_by_cache(everything)
    return TurnOutcome(
        messages=(answer,),
        interrupted=str(answer.metadata.get("interrupted", "")),
        error=error,
        steps=everything,
        text=answer.text,
        usage=usage_of(everything),
        tool_calls=sum(len(message.tool_calls) for message in everything),
        cache_hits=cache_hits,
        saved_seconds=saved_seconds,
        saved_tokens=saved_tokens,
    )
