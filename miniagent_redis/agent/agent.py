"""The driver: performs what the loop in steps.py wants done, and tells of it as events."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from copy import copy
from typing import cast

from attrs import astuple, evolve

from ..errors import ModelError
from ..llm import (
    Answer,
    DemoModel,
    Model,
    ModelRequest,
    ReasoningDelta,
    Reply,
    TextDelta,
    ToolSpec,
    resolve_model,
)
from ..llm.sources import source_of
from ..models import Event, Message, ToolResult
from ..models.event import (
    cache_hit,
    cache_miss,
    numbered,
    reasoning_delta,
    text_delta,
    tool_call,
    turn_step,
    turn_waiting,
)
from ..runtime.pausing import Pause
from ..telemetry import ModelCall, Telemetry
from ..tools import Tool, ToolRegistry, Tools, calculator
from .broken_off import why
from .caching import Lookups, TurnCache, cache_name
from .config import AgentConfig
from .fitting import FittingAnswer
from .measured import MeasuredAnswer, told_name
from .model_context import contexts_of, in_context
from .outcome import TurnOutcome, outcome_of
from .steps import AskModel, AwaitTool, Outcome, Park, Show, Stage, StartTools, TurnLoop
from .tool_runs import ToolRuns
from .turn_context import TurnCancelled, TurnContext
from .turn_options import USUAL, TurnOptions, settings_of
from .view import History


class Agent:
    """A model with its instructions and tools. Keeps nothing between turns; safe in threads.

    The demo model is given a ``calculator`` unless ``tools`` has a tool of that name. Tools
    registered later count from the next turn on. Raises InvalidInput or ModelError if the
    configuration's model cannot be had. Without ``lookups`` nothing is cached, without
    ``telemetry`` nothing is measured.
    """

    def __init__(
        self,
        config: AgentConfig | None = None,
        tools: Tools | None = None,
        lookups: Lookups | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.config: AgentConfig = config or AgentConfig()
        self.tools: ToolRegistry = ToolRegistry.of(tools)
        self.model: Model = resolve_model(self.config.model)
        self.summarizer: Model | None = None
        if self.config.summary_model is not None:
            self.summarizer = resolve_model(self.config.summary_model)
        is_cached = self.config.model_cache_ttl is not None
        self._cache_name = cache_name(self.config.model) if is_cached else ""
        self._contexts = contexts_of(self.model)
        self._lookups = lookups
        self.telemetry: Telemetry | None = telemetry
        is_demo = isinstance(self.model, DemoModel)
        self._own_tools = (ToolRegistry().add(calculator),) if is_demo else ()
        self._specs: tuple[tuple[Tool, ...], tuple[ToolSpec, ...]] = (), ()

    def with_lookups(self, lookups: Lookups) -> Agent:
        """Return the same agent with another cache: the same model, and the same tools."""
        twin = copy(self)
        twin._lookups = lookups
        return twin

    def stream_turn(
        self,
        history: History,
        staged: Sequence[Message],
        turn: TurnContext,
        options: TurnOptions = USUAL,
    ) -> Generator[Event | Pause, None, TurnOutcome]:
        """Work out a turn: yield what the model and the tools do as events, return the outcome.

        ``history`` is the thread before this turn; ``staged`` this turn's messages so far, the
        user's first (a resumed turn goes on behind the others). Each message to keep goes to
        ``turn.stage``, before the event that tells of it. Once the turn is stopped it ends with
        TurnSuperseded, at once: a model or a tool that is running then goes on unheeded. Once it is
        cancelled it ends, as soon, with what there is of the answer; so does an answer that breaks
        off (the outcome's ``error``), if there is anything of it. If others have to answer calls it
        ends parked, with TURN_WAITING.

        Text that comes with tool calls is streamed too, but is no part of the outcome's ``text``.
        An answer that is data is told in one piece, once it fits: before that it may be wrong.
        Blocks while the model or tools work, or yields a Pause (``turn.pauses``). Raises
        ModelError when there is no answer. Closing the generator closes the model's stream.
        """
        tools = self.tools.copy(*self._own_tools) if options.tools is None else options.tools.copy()
        surroundings = TurnLoop(
            config=settings_of(self.config, options, turn, self.tools, self.model),
            tools=tools,
            specs=self._specs_of(tools),
            turn=turn,
            params=options.params_with(self.config.params),
        )
        loop = surroundings.run(history, staged)
        cache = TurnCache(self._lookups, turn, by_session=bool(self._contexts))
        fitting = None if options.form is None else FittingAnswer(options.form)
        if fitting is not None:
            loop, cache = fitting.run(loop), evolve(cache, wanted=fitting.is_wanted)
        steps = list(staged[1:])
        told: set[str] = set()  # ids of the calls of which an event has told
        runs: ToolRuns | None = None
        broken: ModelError | None = None
        outcome: Outcome = None
        try:
            while True:
                turn.check()
                try:
                    action = loop.send(outcome)
                except StopIteration as end:
                    return outcome_of(steps, cast(Message, end.value), broken, fitting)
                except ModelError as exc:
                    if isinstance(outcome, Reply) and fitting is None:  # of no use, and paid for
                        exc.tokens = exc.tokens if any(exc.tokens) else astuple(outcome.usage)
                    raise
                outcome = None
                match action:
                    case AskModel(request):
                        outcome, broken = yield from self._ask(request, turn, cache)
                        yield from _told_of_cache(turn, "model", self._cache_name, outcome)
                    case StartTools(calls):
                        for call in calls:
                            if call.id not in told:  # of a turn that is resumed
                                yield turn.tell(tool_call(call), "")
                        turn.has_started_tools = True
                        runs = ToolRuns(
                            tools,
                            calls,
                            config=self.config,
                            turn=turn,
                            cache=cache,
                            telemetry=self.telemetry,
                        )
                    case Show(text):
                        yield turn.tell(text_delta(text))
                    case AwaitTool():
                        assert runs is not None
                        outcome = yield from runs.next()
                        yield from _told_of_cache(turn, "tool", outcome.name, outcome)
                    case Park(calls):
                        if (parked_id := turn.park(calls)) is None:
                            continue
                        yield turn.tell(turn_waiting(calls), parked_id)
                        texts = [step.text for step in steps if step.role == "assistant"]
                        return TurnOutcome((), tuple(steps), texts[-1], waiting=calls)
                    case Stage(messages):
                        yield from _stage(messages, turn)
                        steps.extend(messages)
                        told |= {call.id for message in messages for call in message.tool_calls}
        except ModelError as exc:
            if fitting is not None:
                fitting.charge(exc)
            raise
        finally:
            if runs is not None:
                runs.close()

    def _ask(
        self, request: ModelRequest, turn: TurnContext, cache: TurnCache
    ) -> Generator[Event | Pause, None, tuple[Reply, ModelError | None]]:
        """Return the reply, or what there is of it; and what broke it off, if that was an error."""
        model = in_context(self.model, self._contexts, turn.tool_context)
        try:
            turn.check_wait()
            name, ttl = self._cache_name, self.config.model_cache_ttl
            found = cache.look_up_reply(request, name=name, ttl=ttl, check=turn.check_wait)
        except TurnCancelled:
            return Reply(interrupted="cancelled"), None
        answer = self._answer(model, request, turn)
        try:
            if found.reply is not None:
                if found.reply.text and request.output is None:
                    yield turn.tell(text_delta(found.reply.text))
                return found.reply, None
            with turn.reserved(request, lambda: answer.usage):
                while (piece := (yield from answer.next_in_steps())) is not None:
                    turn.check()
                    if isinstance(piece, TextDelta) and piece.text and request.output is None:
                        yield turn.tell(text_delta(piece.text))
                    elif isinstance(piece, ReasoningDelta) and piece.text:
                        yield turn.tell(reasoning_delta(piece.text))
                    if turn.is_cancelled:
                        return answer.so_far("cancelled"), None
            return found.keep(answer.reply()), None
        except TurnCancelled:
            return answer.so_far("cancelled"), None
        except ModelError as exc:
            if (reply := answer.so_far(why(exc))).says_something:
                return reply, exc
            exc.tokens = astuple(answer.usage)
            raise
        finally:
            answer.close()
            found.end()

    def _answer(self, model: Model, request: ModelRequest, turn: TurnContext) -> Answer:
        source = source_of(model, request, turn.ring, turn.check_wait, pauses=turn.pauses)
        if self.telemetry is None:
            return Answer(model, request, source)
        call = ModelCall(told_name(self.config.model, self.model), turn.session_id, turn.turn_id)
        return MeasuredAnswer(model, request, source, self.telemetry, call)

    def _specs_of(self, tools: ToolRegistry) -> tuple[ToolSpec, ...]:
        """Return what models are told of the tools: the same as before while those are the same."""
        known, specs = self._specs
        if (registered := tuple(tools)) != known:
            specs = tuple(ToolSpec(**spec) for spec in tools.specs())
            self._specs = registered, specs
        return specs


def _told_of_cache(
    turn: TurnContext, what: str, name: str, found: ToolResult | Reply
) -> Iterator[Event]:
    """Yield the event of a look into the cache, if there was one."""
    if found.cached:
        tokens = found.saved_tokens if isinstance(found, Reply) else 0
        yield turn.tell(
            cache_hit(what, name, saved_seconds=found.saved_seconds, saved_tokens=tokens)
        )
    elif found.cached is not None:
        yield turn.tell(cache_miss(what, name))


def _stage(messages: Sequence[Message], turn: TurnContext) -> Iterator[Event]:
    """Stage messages, and yield the events that tell of them, with the ids of watchers."""
    ids = turn.stage(messages) or [""] * len(messages)
    for message, its_id in zip(messages, ids, strict=True):
        said = turn_step(message)
        its_ids = numbered(its_id, len(said)) if its_id else [""] * len(said)
        for each, each_id in zip(said, its_ids, strict=True):
            yield turn.tell(each, each_id)
