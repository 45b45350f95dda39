"""A turn by its stored messages, as the events that were told of it: for who comes later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from ..models import Event, Message, WaitingCall
from ..models.event import (
    Told,
    agent_response,
    text_delta,
    tool_call,
    tool_result,
    turn_started,
    turn_waiting,
)
from ..models.inquiry import asks, inquiries_of, is_inquiry
from ..models.waiting import ANSWERED


def events_of(
    session_id: str,
    messages: Sequence[Message],
    *,
    is_over: bool,
    waiting: Sequence[WaitingCall] = (),
) -> Iterator[Event]:
    """Yield what the stored messages of a turn tell; without ids, and texts in one piece.

    ``is_over``: the last message is the answer. ``waiting`` are the calls for which it waits now.
    """
    for told, message in _told(messages, is_over, waiting):
        kind, data = told
        yield Event(kind, session_id, messages[0].turn_id, data, message.created_at)


def _told(
    messages: Sequence[Message], is_over: bool, waiting: Sequence[WaitingCall]
) -> Iterator[tuple[Told, Message]]:
    first, *steps = messages
    yield turn_started(first, 0, resumed=False), first
    parked: Message | None = None  # the reply whose calls others have answered
    reply = first
    for place, step in enumerate(steps):
        if is_over and place == len(steps) - 1:
            yield agent_response(step, 0), step
            return
        if step.role == "tool":
            if asks(step):
                parked = None  # others answer it, so it was parked once more
                continue
            if ANSWERED in step.metadata and parked is not reply:
                parked = reply
                yield turn_waiting(_answered(reply, steps[: place + 1], steps[place:])), reply
            if not is_inquiry(step):
                yield tool_result(step), step
            continue
        reply = step
        if step.text:
            yield text_delta(step.text), step
        for call in step.tool_calls:
            yield tool_call(call), step
    if waiting and parked is not reply:
        yield turn_waiting(waiting), reply


def _answered(
    reply: Message, so_far: Sequence[Message], rest: Sequence[Message]
) -> list[WaitingCall]:
    """Return the calls of a reply that others have answered, as those for which it waited.

    ``so_far`` has what they asked. They are those up to the next question.
    """
    answered = {
        one.tool_call_id: one.metadata[ANSWERED]["waits_for"]
        for one in takewhile(lambda one: not asks(one), rest)
        if ANSWERED in one.metadata
    }
    asked = {call.id: inquiries_of(so_far, call.id) for call in reply.tool_calls}
    return [
        WaitingCall.of(
            call, answered[call.id], asked[call.id][-1].question if asked[call.id] else None
        )
        for call in reply.tool_calls
        if call.id in answered
    ]


def legs_of(steps: Sequence[Message]) -> list[list[Message]]:
    """Return the steps of a turn by its legs: a new one begins where others have answered calls."""
    legs: list[list[Message]] = [[]]
    reply: Message | None = None
    parked: Message | None = None
    for step in steps:
        if step.role != "tool":
            reply = step
        elif asks(step):
            parked = None
        elif ANSWERED in step.metadata and parked is not reply:
            parked = reply
            legs.append([])
        legs[-1].append(step)
    return legs


def leg_behind(steps: Sequence[Message]) -> int:
    """Return the number of the leg that answers to a turn's last reply begin, or have begun."""
    legs = legs_of(steps)
    is_begun = len(legs) > 1 and all(step.role == "tool" for step in legs[-1])
    return len(legs) - is_begun
