"""From a stream of model events to a whole reply, checked on the way.

Whole replies come from here only, so streaming and blocking use of a model cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import cast

from attrs import evolve, field, frozen

from ..errors import IncompleteResponse, MiniAgentError, ModelError
from ..models import ToolCall, Usage, new_id
from .base import Block, Finish, Model, ModelEvent, ModelRequest, TextDelta


@frozen
class Reply:
    """A model's whole reply. The ids of its tool calls are there and differ from each other."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(factory=Usage)
    finish_reason: str = "stop"
    blocks: tuple[Block, ...] = ()
    interrupted: str = ""
    """Why this is only the beginning of an answer: "cancelled" or "incomplete"; else empty."""
    cached: bool | None = None
    """Whether it was found in a cache, so that it cost nothing; None if nobody looked."""
    saved_seconds: float = 0.0
    saved_tokens: int = 0


def fold(events: Iterable[ModelEvent]) -> Reply:
    """Return what the events add up to.

    Raises IncompleteResponse, with the text so far, if they end without Finish, and ModelError
    for anything after Finish or that is no event.
    """
    stream = folding(events)
    while True:
        try:
            next(stream)
        except StopIteration as end:
            return cast(Reply, end.value)


def folding(events: Iterable[ModelEvent]) -> Generator[ModelEvent, None, Reply]:
    """Pass events on as they come, checked as by ``fold``, and return what they add up to."""
    text: list[str] = []
    calls: dict[str, ToolCall] = {}
    blocks: list[Block] = []
    usage = Usage()
    finish: Finish | None = None
    for event in events:
        if finish is not None:
            raise ModelError(
                "the model went on after the end of its answer",
                cause=f"{type(event).__name__} came after Finish",
            )
        match event:
            case TextDelta():
                text.append(event.text)
            case ToolCall():
                # Some servers give no ids, or the same to all calls.
                if not event.id or event.id in calls:
                    event = evolve(event, id=new_id())
                calls[event.id] = event
            case Block():
                blocks.append(event)
            case Usage():
                usage += event
            case Finish():
                finish = event
            case _:
                raise ModelError(
                    f"the model sent {event!r:.100}, which is no event",
                    hint="a model yields TextDelta, ToolCall, Block and Usage, then Finish",
                )
        yield event
    if finish is None:
        raise IncompleteResponse(
            "the model's answer broke off",
            text="".join(text),
            cause="its stream ended without Finish",
            hint="send the message again",
        )
    return Reply("".join(text), tuple(calls.values()), usage, finish.reason, tuple(blocks))


def ask(model: Model, request: ModelRequest) -> Generator[ModelEvent, None, Reply]:
    """Ask ``model``: pass its events on as they come, return the whole reply.

    Raises as ``fold`` does; an exception of the model's own becomes IncompleteResponse if some
    text had already come, else ModelError. The model's stream is closed at the end, also when
    this generator is closed half way.
    """
    text: list[str] = []
    events: Iterable[ModelEvent] = ()
    try:
        events = model.stream(request)
        stream = folding(events)
        while True:
            try:
                event = next(stream)
            except StopIteration as end:
                return cast(Reply, end.value)
            if isinstance(event, TextDelta):
                text.append(event.text)
            yield event
    except MiniAgentError:
        raise
    except Exception as exc:
        cause = f"{type(exc).__name__}: {exc}"
        if any(text):
            raise IncompleteResponse(
                "the model failed in the middle of its answer", text="".join(text), cause=cause
            ) from exc
        raise ModelError(f"{type(model).__name__} failed to answer", cause=cause) from exc
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()
