"""What wakes somebody who waits for something to happen, as told on one channel."""

from __future__ import annotations

import random
from collections.abc import Container
from types import TracebackType
from typing import Final, Self

from ..connection.line import Line
from ..connection.subscriptions import Channel
from ..runtime.interrupts import Flag
from .core import StoreCore
from .keys import to_bytes

BLIND: Final = 1.0
"""Seconds between looks of somebody who would not be told: while listening is interrupted, and for
good if Redis does not let us listen."""
_HOPS = 4
"""Nodes of a cluster that are asked one after the other; a slot that moves all the time is left to
the next look."""


class Wakes:
    """Sets ``flag`` whenever it may be worth a look. For one who waits; leaving ``with`` ends it.

    That is: something was told on the channel, but for what is in ``passing_over``; or it may be
    that something was not heard.
    """

    def __init__(self, core: StoreCore, channel: str, passing_over: Container[bytes] = ()) -> None:
        self.flag: Flag = Flag()
        self._connections = core.connections
        self._name = to_bytes(channel)
        self._passing_over = passing_over
        self._listening = core.connections.listening.anywhere
        self._joined: Channel | None = None

    def get_ready(self) -> None:
        """Listen from here on, if that is not so yet, and take the flag back. Look only then.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        try:
            for _ in range(_HOPS):
                if self._joined is not None and not self._joined.is_ended:
                    break
                self._connections.open()
                listeners = self._connections.listening
                self._listening = listeners.of(self._name)
                self._joined = listeners.join_if_allowed(self._listening, self, self._name)
        finally:
            self.flag.clear()

    @property
    def line(self) -> Line | None:
        """The connection on which everything is heard now; None if not everything is."""
        return self._listening.line(self._name)

    def is_unbroken(self, line: Line) -> bool:
        """Ask over a connection; return whether the same server has been behind it all the time."""
        return self._listening.is_unbroken(line)

    def pace(self, seconds: float) -> float:
        """Return when to look without being woken: not all at once, and sooner if not told."""
        longest = seconds if self.line is not None else min(seconds, BLIND)
        return longest * random.uniform(0.9, 1.0)

    def hear(self, channel: bytes, data: bytes) -> None:
        if data not in self._passing_over:
            self.flag.set()

    def rouse(self) -> None:
        self.flag.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._joined = None
        self._listening.leave(self, [self._name])
