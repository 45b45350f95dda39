"""Callbacks hear of events; nothing they do breaks a turn."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from miniagent_redis.agent import Callback, StreamCallback
from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Event, EventType

DELTA = Event(EventType.TEXT_DELTA, "s", "t", {"text": "Hi"})
RESULT = Event(EventType.TOOL_RESULT, "s", "t")


def test_callbacks_hear_of_their_events_in_the_order_of_registration() -> None:
    heard: list[str] = []
    callbacks = StreamCallback()
    callbacks.on(EventType.TEXT_DELTA, lambda event: heard.append("first " + event.text))

    @callbacks.on_any
    def second(event: Event) -> None:
        heard.append(f"any {event.type.value}")

    @callbacks.on(EventType.TEXT_DELTA)
    def third(event: Event) -> None:
        heard.append("third")

    callbacks.emit(DELTA)
    callbacks.emit(RESULT)
    assert heard == ["first Hi", "any text_delta", "third", "any tool_result"]


def test_a_decorated_callback_stays_what_it_is() -> None:
    @StreamCallback().on(EventType.TEXT_DELTA)
    def double(event: Event) -> str:
        return event.text * 2

    assert double(DELTA) == "HiHi"


def test_a_callback_that_raises_is_logged_and_counted_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard: list[Event] = []
    callbacks = StreamCallback()
    callbacks.on_any(lambda event: 1 / 0)
    callbacks.on_any(heard.append)
    with caplog.at_level(logging.ERROR):
        callbacks.emit(DELTA)
    assert heard == [DELTA]
    assert callbacks.errors == 1
    assert "text_delta" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_wish_to_stop_is_not_swallowed() -> None:
    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    callbacks = StreamCallback()
    callbacks.on_any(stop)
    with pytest.raises(KeyboardInterrupt):
        callbacks.emit(DELTA)


async def _later(event: Event) -> None: ...


class _Later:
    async def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize("function", [_later, _Later()])
def test_async_callbacks_are_refused_here(function: Any) -> None:
    with pytest.raises(InvalidInput, match="async"):
        StreamCallback().on(EventType.TEXT_DELTA, function)


def test_a_subclass_can_accept_async_callbacks() -> None:
    class Accepting(StreamCallback):
        def _adapt(self, function: Callback) -> Callback:
            def run(event: Event) -> None:
                with pytest.raises(StopIteration):
                    function(event).send(None)
                ran.append(event)

            return run

    ran: list[Event] = []
    callbacks = Accepting()
    callbacks.on_any(_later)
    callbacks.emit(DELTA)
    assert ran == [DELTA]


def test_what_cannot_be_registered_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be called"):
        StreamCallback().on_any(5)  # type: ignore[type-var] # pyright: ignore
    with pytest.raises(InvalidInput, match=r"no event type 'text'.*TEXT_DELTA"):
        StreamCallback().on("text", print)  # type: ignore[call-overload] # pyright: ignore
