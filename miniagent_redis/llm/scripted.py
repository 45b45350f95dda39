"""A model that says what it was told to, for tests: no network, no surprises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..errors import InvalidInput, ModelError
from ..models import ToolCall, Usage
from ..runtime.forking import reset_after_fork
from .base import Finish, ModelEvent, ModelRequest, TextDelta
from .text import words

Part = str | ToolCall | Usage | Finish | BaseException
Fixed = Part | Sequence[Part]
Scripted = Fixed | Callable[[ModelRequest], Fixed]


class ScriptedModel:
    """Give the replies one after another, whoever asks; ``requests`` records what was asked.

    A reply is text (streamed word by word), a ToolCall, an exception to raise, a list of these
    (text in it is one piece each), or a function from the ModelRequest to any of them. Usage and
    Finish can be part of a list; Finish is added where it is missing. When the script has run out,
    the model raises ModelError.
    """

    def __init__(self, replies: Iterable[Scripted]) -> None:
        if isinstance(replies, str):
            raise InvalidInput("the script is one text", hint="give a list: ScriptedModel([…])")
        self._replies = list(replies)
        self.answers_at_once: bool = not any(map(callable, self._replies))
        self.requests: list[ModelRequest] = []
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._lock = threading.RLock()  # over requests, whose number is the place in the script

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        with self._lock:
            place = len(self.requests)
            self.requests.append(request)
        if place >= len(self._replies):
            raise ModelError(
                f"the script has run out: reply {place + 1} was asked for",
                cause=f"it has {len(self._replies)}",
                hint="give ScriptedModel one reply for each time that the model is asked",
            )
        reply = self._replies[place]
        return _events(reply(request) if callable(reply) else reply)


def _events(reply: Fixed) -> Iterator[ModelEvent]:
    if isinstance(reply, str):
        parts: Sequence[Part] = words(reply)
    else:
        parts = (reply,) if isinstance(reply, (ToolCall, Usage, Finish, BaseException)) else reply
    called = False
    for part in parts:
        if isinstance(part, BaseException):
            raise part
        yield TextDelta(part) if isinstance(part, str) else part
        if isinstance(part, Finish):
            return
        called = called or isinstance(part, ToolCall)
    yield Finish("tool_calls" if called else "stop")
