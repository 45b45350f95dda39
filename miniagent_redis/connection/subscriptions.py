"""Who listens to what: the channels of a listener, and the subscribers of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from ..errors import MiniAgentError
from ..runtime.interrupts import WeakRegistry
from .line import Line


class Subscriber(Protocol):
    """Who listens. Both are called by the listening thread and must neither block nor raise."""

    def hear(self, channel: bytes, data: bytes) -> None:
        """Take what was published."""
        ...

    def rouse(self) -> None:
        """Look for yourself: something may have been missed, or may be missed from now on."""
        ...


class Channel:
    """One channel: ``line`` is the connection on which Redis has confirmed it.

    ``refused`` is why Redis would not; ``is_ended`` is whether nothing will be heard of it here any
    more, so that who wants to has to join anew. Subscribers are held weakly.
    """

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.subscribers: WeakRegistry[Subscriber] = WeakRegistry()
        self.line: Line | None = None
        self.refused: MiniAgentError | None = None
        self.is_ended: bool = False

    @property
    def is_answered(self) -> bool:
        return self.is_ended or self.refused is not None or self.line is not None

    def rouse(self) -> None:
        for subscriber in self.subscribers:
            subscriber.rouse()

    def end(self) -> None:
        """Rouse every subscriber, to join anew."""
        self.is_ended = True
        self.rouse()


class Subscriptions:
    """All channels by name. Changed by one thread at a time, read by any."""

    def __init__(self) -> None:
        self._channels: dict[bytes, Channel] = {}

    def get(self, name: bytes) -> Channel | None:
        return self._channels.get(name)

    def add(self, subscriber: Subscriber, names: Iterable[bytes]) -> list[Channel]:
        """Note the subscriber down for channels; what was refused before may be allowed by now."""
        wanted = [self._channels.setdefault(name, Channel(name)) for name in dict.fromkeys(names)]
        for channel in wanted:
            channel.refused = None
            channel.subscribers.add(subscriber)
        return wanted

    def take(self, is_meant: Callable[[Channel], bool]) -> list[Channel]:
        """Take out the channels that are meant, and return them."""
        taken = [channel for channel in self if is_meant(channel)]
        for channel in taken:
            del self._channels[channel.name]
        return taken

    def rouse(self) -> None:
        """Rouse every subscriber."""
        for channel in self:
            channel.rouse()

    def end(self) -> None:
        """End every channel."""
        for channel in self:
            channel.end()

    def __iter__(self) -> Iterator[Channel]:
        return iter(list(self._channels.values()))

    def __len__(self) -> int:
        return len(self._channels)
