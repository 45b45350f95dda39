"""A class that blocks until its test lets it go, and its mirror for asyncio."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from miniagent_redis.runtime.cancellation import raise_if_cancelled
from miniagent_redis.runtime.clock import SystemClock
from miniagent_redis.runtime.mirroring import Threads, mirrors, mirrors_steps
from tests.support.coroutines import LIMIT

place: ContextVar[str] = ContextVar("place", default="nowhere")


class Blocking:
    """What is mirrored: each method blocks until the test lets it go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.heard: list[str] = []

    def greet(self, name: str, *, mark: str = "!") -> str:
        return f"Hello {name}{mark}"

    def wait(self) -> str:
        self.began.set()
        assert self.go.wait(LIMIT)
        self.heard.append("went on")
        return "done"

    def wait_politely(self) -> None:
        self.began.set()
        while not self.go.wait(0.01):
            raise_if_cancelled()

    def call(self, function: Callable[[], Any]) -> Any:
        return function()

    def numbers(self, upto: int) -> Iterator[int]:
        try:
            for number in range(upto):
                yield number
                raise_if_cancelled()
        finally:
            self.heard.append("closed")

    def listen(self) -> Iterator[int]:
        try:
            yield 1
            self.began.set()
            while not self.go.wait(0.01):
                raise_if_cancelled()
        finally:
            self.heard.append("closed")


class Facade:
    def __init__(self) -> None:
        self.sync = Blocking()
        self._threads = Threads()

    @mirrors(Blocking.greet)
    def greet(self) -> None: ...
    @mirrors(Blocking.wait, undo=lambda blocking, result: blocking.heard.append(f"undid {result}"))
    def wait(self) -> None: ...
    @mirrors(Blocking.wait, on="turns")
    def turn(self) -> None: ...
    @mirrors(Blocking.wait_politely)
    def wait_politely(self) -> None: ...
    @mirrors(Blocking.call)
    def call(self) -> None: ...
    @mirrors(Blocking.call, on="turns")
    def call_in_turn(self) -> None: ...
    @mirrors_steps(
        Blocking.numbers, lambda sync, *args: (sync.numbers(*args), SystemClock()), on="turns"
    )
    def numbers(self) -> None: ...
    @mirrors_steps(Blocking.listen, lambda sync: (sync.listen(), SystemClock()), on="waits")
    def listen(self) -> None: ...
