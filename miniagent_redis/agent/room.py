"""Room in a request: for so many messages, and so many tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from ..models import Message


@define
class Room:
    """Room for so many more messages and tokens."""

    messages: float
    tokens: float
    size: Callable[[Message], int]

    def share(self, of: float) -> Room:
        """Return a room of so large a part of this one: 0.5 is half of it."""
        return Room(self.messages * of, self.tokens * of, self.size)

    def holds(self, other: Room) -> bool:
        return self.messages >= other.messages and self.tokens >= other.tokens

    def take(self, messages: Sequence[Message]) -> bool:
        """Take up room for all these messages, or for none if it is too little."""
        if len(messages) > self.messages:
            return False
        tokens = self.tokens
        for message in messages:
            if (tokens := tokens - self.size(message)) < 0:
                return False
        self.messages -= len(messages)
        self.tokens = tokens
        return True
