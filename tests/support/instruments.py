"""Instruments that write down what they are told of."""

from __future__ import annotations

from typing import TypeVar

from miniagent_redis.telemetry import End, Work

W = TypeVar("W", bound=Work)


class Notes:
    """Keeps all work that it was told of, in the order in which it began, and in which it ended."""

    def __init__(self) -> None:
        self.begun: list[Work] = []
        self.ended: list[Work] = []

    def begin(self, work: Work) -> End:
        self.begun.append(work)
        return lambda: self.ended.append(work)

    def of(self, kind: type[W]) -> list[W]:
        """Return all work of a kind that has ended."""
        return [work for work in self.ended if isinstance(work, kind)]

    def only(self, kind: type[W]) -> W:
        """Return the one work of a kind that there was."""
        (work,) = self.of(kind)
        return work


class Broken:
    """Fails at the beginning, or at the end, of all that it is told of."""

    def __init__(self, *, at_the_end: bool) -> None:
        self.at_the_end = at_the_end
        self.times = 0

    def begin(self, work: Work) -> End:
        if not self.at_the_end:
            self.fail()
        return self.fail

    def fail(self) -> None:
        self.times += 1
        raise ArithmeticError("the instrument is broken")
