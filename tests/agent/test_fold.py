"""Whole replies come from the stream of events, and a broken stream is never taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from miniagent_redis.errors import IncompleteResponse, ModelError, RateLimited
from miniagent_redis.llm import (
    Block,
    Finish,
    ModelEvent,
    ModelRequest,
    Reply,
    TextDelta,
    ToolCall,
    Usage,
    ask,
    fold,
)

REQUEST = ModelRequest(())


class Streaming:
    """A model that streams what a function yields, and tells whether its stream was closed."""

    def __init__(self, events: Any) -> None:
        self.events = events
        self.closed = False

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.kept = self._stream()  # else it would be closed as garbage
        return self.kept

    def _stream(self) -> Iterator[ModelEvent]:
        try:
            yield from self.events()
        finally:
            self.closed = True


def test_a_reply_is_the_sum_of_its_events() -> None:
    call = ToolCall("1", "add", {"a": 1})
    texts, costs = (TextDelta("Hel"), TextDelta("lo")), (Usage(3, 0), Usage(0, 2))
    events: list[ModelEvent] = [texts[0], costs[0], texts[1], call, costs[1], Finish("odd")]
    assert fold(events) == Reply("Hello", (call,), Usage(3, 2), "odd")


def test_blocks_of_the_provider_are_kept_in_their_order() -> None:
    blocks = (Block("a", {"n": 1}), Block("a", {"n": 2}))
    assert fold([blocks[0], TextDelta("Hi"), blocks[1], Finish()]).blocks == blocks


def test_without_finish_the_reply_is_incomplete_and_carries_what_came() -> None:
    with pytest.raises(IncompleteResponse) as caught:
        fold([TextDelta("Hel"), TextDelta("lo")])
    assert caught.value.text == "Hello"


@pytest.mark.parametrize("late", [TextDelta("x"), Finish()], ids=["text", "finish"])
def test_nothing_may_come_after_finish(late: ModelEvent) -> None:
    with pytest.raises(ModelError, match="after Finish"):
        fold([TextDelta("x"), Finish(), late])


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(ModelError, match="'text', which is no event"):
        fold(["text"])  # type: ignore[list-item]


def test_calls_without_an_id_or_with_the_same_get_different_ones() -> None:
    calls = [ToolCall("", "a"), ToolCall("", "b"), ToolCall("x", "c"), ToolCall("x", "d")]
    reply = fold([*calls, Finish()])
    assert [call.name for call in reply.tool_calls] == ["a", "b", "c", "d"]
    assert len({call.id for call in reply.tool_calls} - {""}) == 4
    assert reply.tool_calls[2].id == "x"


@pytest.mark.parametrize("arguments", ["text", "[1]", {"x": float("nan")}, {"x": b""}, 5, ["x"]])
def test_arguments_that_are_no_json_object_are_told_apart(arguments: Any) -> None:
    reply = fold([ToolCall("", "a", {"x": 1}), ToolCall("", "b", arguments), Finish()])
    good, bad = reply.tool_calls
    (unread,) = reply.unread
    assert (good.arguments, bad.arguments) == ({"x": 1}, {})
    assert (unread.id, unread.name) == (bad.id, "b")
    assert unread.sent
    assert unread.why


@pytest.mark.parametrize("arguments", ['{"x": 1}', '"{\\"x\\": 1}"'])
def test_arguments_that_are_the_text_of_an_object_are_read(arguments: Any) -> None:
    assert fold([ToolCall("", "a", arguments), Finish()]).tool_calls[0].arguments == {"x": 1}


def test_a_models_own_exception_becomes_model_error_with_the_cause() -> None:
    def events() -> Iterator[ModelEvent]:
        raise ConnectionError("refused")
        yield

    with pytest.raises(ModelError, match=r"Streaming failed.*ConnectionError: refused") as caught:
        list(ask(Streaming(events), REQUEST))
    assert not isinstance(caught.value, IncompleteResponse)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_an_exception_in_the_middle_keeps_the_text_so_far() -> None:
    def events() -> Iterator[ModelEvent]:
        yield TextDelta("Hel")
        raise ConnectionError("reset")

    with pytest.raises(IncompleteResponse, match="reset") as caught:
        list(ask(Streaming(events), REQUEST))
    assert caught.value.text == "Hel"


def test_our_own_errors_pass_as_they_are() -> None:
    def events() -> Iterator[ModelEvent]:
        raise RateLimited("model", 3)
        yield

    with pytest.raises(RateLimited):
        list(ask(Streaming(events), REQUEST))


def test_a_model_whose_stream_method_itself_raises_is_told_of_too() -> None:
    class Broken:
        def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
            raise ValueError("no key")

    with pytest.raises(ModelError, match="no key"):
        list(ask(Broken(), REQUEST))


def test_the_models_stream_is_closed_when_nobody_wants_the_rest() -> None:
    model = Streaming(lambda: iter([TextDelta("a"), TextDelta("b"), Finish()]))
    stream = ask(model, REQUEST)
    assert next(stream) == TextDelta("a")
    stream.close()
    assert model.closed
