"""From a stream of model events to a whole reply, checked on the way.

Whole replies come from here only, so streaming and blocking use of a model cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any

from attrs import evolve, field, frozen

from ..errors import IncompleteResponse, ModelError
from ..models import ToolCall, Usage, new_id
from ..runtime.pausing import Pause, at_once
from .awaited import AsyncFunctionModel, AwaitedModel
from .base import (
    Block,
    ContentPart,
    Finish,
    Model,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    UnreadCall,
)
from .calls import read_call
from .function import FunctionModel
from .sources import ModelFailed, ModelSource, Source


@frozen
class Reply:
    """A model's whole reply. The ids of its tool calls are there and differ from each other.

    The calls in ``unread`` are among the ``tool_calls`` too, in their place, with no arguments.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(factory=Usage)
    finish_reason: str = "stop"
    blocks: tuple[Block, ...] = ()
    interrupted: str = ""
    """Why this is only the beginning of an answer: "cancelled" or "incomplete"; else empty.

    "stopped", where something else than the model ended the turn, is for stored answers only.
    """
    cached: bool | None = None
    """Whether it was found in a cache, so that it cost nothing; None if nobody looked."""
    saved_seconds: float = 0.0
    saved_tokens: int = 0
    unread: tuple[UnreadCall, ...] = ()
    finish_detail: str = ""
    parts: tuple[dict[str, Any], ...] = ()
    """What of the answer is no text, such as pictures."""

    @property
    def says_something(self) -> bool:
        """Whether there is an answer, or a call."""
        return bool(self.text.strip() or self.tool_calls or self.parts)


_NOTHING = Usage()


class Folding:
    """A reply in the making. ``usage`` is what it cost so far."""

    def __init__(self) -> None:
        self.usage: Usage = _NOTHING
        self._text: list[str] = []
        self._calls: dict[str, ToolCall] = {}
        self._unread: list[UnreadCall] = []
        self._blocks: list[Block] = []
        self._parts: list[dict[str, Any]] = []
        self._finish: Finish | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._text)

    def add(self, event: ModelEvent) -> ModelEvent:
        """Take the next event and return it; a tool call has an id of its own then."""
        if self._finish is not None:
            raise ModelError(
                "the model went on after the end of its answer",
                cause=f"{type(event).__name__} came after Finish",
            )
        match event:
            case TextDelta():
                self._text.append(event.text)
            case ReasoningDelta():
                pass  # for those who watch
            case ContentPart():
                self._parts.append(event.part)
            case ToolCall() | UnreadCall():
                # Some servers give no ids, or the same to all calls.
                if not event.id or event.id in self._calls:
                    event = evolve(event, id=new_id())
                if isinstance(event, ToolCall):  # a model of one's own may send anything
                    event = read_call(event.id, event.name, event.arguments)
                self._calls[event.id] = (
                    event if isinstance(event, ToolCall) else ToolCall(event.id, event.name)
                )
                if isinstance(event, UnreadCall):
                    self._unread.append(event)
            case Block():
                self._blocks.append(event)
            case Usage():
                self.usage = event if self.usage is _NOTHING else self.usage + event
            case Finish():
                self._finish = event
            case _:
                raise ModelError(
                    f"the model sent {event!r:.100}, which is no event",
                    hint="a model yields TextDelta, ReasoningDelta, ContentPart, ToolCall, Block "
                    "and Usage, then Finish",
                )
        return event

    def so_far(self, interrupted: str) -> Reply:
        """Return what can be kept of an answer that does not go on."""
        parts = tuple(self._parts)
        return Reply(self.text, usage=self.usage, interrupted=interrupted, parts=parts)

    def reply(self) -> Reply:
        """Return what the events add up to. Raises IncompleteResponse if Finish is not there."""
        if self._finish is None:
            raise IncompleteResponse(
                "the model's answer broke off",
                text=self.text,
                cause="its stream ended without Finish",
                hint="send the message again",
            )
        calls, blocks = tuple(self._calls.values()), tuple(self._blocks)
        return Reply(
            self.text,
            calls,
            self.usage,
            self._finish.reason,
            blocks,
            unread=tuple(self._unread),
            finish_detail=self._finish.detail,
            parts=tuple(self._parts),
        )


class Answer(Folding):
    """A model's answer as it comes in: ``next`` gives its events, ``reply`` what they add up to.

    The model is asked at the first ``next``: as the ``source`` does, or else in the caller's
    thread. Close it when nobody wants the rest.
    """

    def __init__(self, model: Model, request: ModelRequest, source: Source | None = None) -> None:
        super().__init__()
        self._model = model
        self._source = source or ModelSource(model, request)

    def next(self) -> ModelEvent | None:
        """Return the next event, None at the end. Blocks while the model works.

        Raises as ``fold`` does; an exception of the model's own becomes IncompleteResponse if some
        text had already come, else ModelError. What the handler of a signal raised meanwhile, as
        job queues do when a job's time is up, is raised as it is.
        """
        return at_once(self.next_in_steps())

    def next_in_steps(self) -> Generator[Pause, None, ModelEvent | None]:
        """Do the same, and pause while the model works if the source does."""
        try:
            event = yield from self._source.next()
        except ModelFailed as failed:
            raise self._failure(failed.error) from failed.error
        return None if event is None else self.add(event)

    def close(self) -> None:
        """End the model's stream."""
        self._source.close()

    def _failure(self, error: BaseException) -> ModelError:
        cause = f"{type(error).__name__}: {error}"
        if self.text:
            problem = "the model failed in the middle of its answer"
            failure: ModelError = IncompleteResponse(problem, text=self.text, cause=cause)
        else:
            failure = ModelError(f"{_name(self._model)} failed to answer", cause=cause)
        if isinstance(error, OSError):
            failure.kind = "timeout" if isinstance(error, TimeoutError) else "connection"
        return failure


def _name(model: object) -> str:
    """Return what people know the model by."""
    if isinstance(model, AwaitedModel):
        return _name(model.model)
    if not isinstance(model, (FunctionModel, AsyncFunctionModel)):
        return type(model).__name__
    function = model.function
    return f"the model {getattr(function, '__qualname__', type(function).__name__)}"


def fold(events: Iterable[ModelEvent]) -> Reply:
    """Return what the events add up to.

    Raises IncompleteResponse, with the text so far, if they end without Finish, and ModelError
    for anything after Finish or that is no event.
    """
    folding = Folding()
    for event in events:
        folding.add(event)
    return folding.reply()


def ask(model: Model, request: ModelRequest) -> Generator[ModelEvent, None, Reply]:
    """Ask ``model``: pass its events on as they come, return the whole reply.

    Raises as ``Answer.next`` does. The model's stream is closed at the end, also when this
    generator is closed half way.
    """
    with closing(Answer(model, request)) as answer:
        while (event := answer.next()) is not None:
            yield event
        return answer.reply()
