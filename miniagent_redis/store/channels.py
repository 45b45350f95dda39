"""Pub/sub channels: notes to whoever listens right now. Nothing is kept for later."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from redis.client import PubSub

from .._mirror import raise_if_cancelled
from ..codec import check_json, dumps, loads
from ..errors import InvalidInput
from .base import StoreBase

_LOOK_AROUND = 0.25
_PATIENCE = 8  # looks at a silent server


class Channels(StoreBase):
    """Publishing, subscribing and listening. One listener, in one thread, per store object."""

    _pubsub: PubSub | None = None
    _early: tuple[dict[str, Any], ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading = threading.Lock()  # held while the listener's connection is in use

    def publish(self, channel: str, message: Any) -> int:
        """Send a JSON value to the channel; return how many subscribers got it."""
        check_json(message, "the message")
        return int(self._call("PUBLISH", self._channel(channel), dumps(message)))

    def subscribe(self, channels: Sequence[str]) -> None:
        """Start to collect messages of the channels for ``get_messages``; adds to earlier ones.

        Returns when Redis has confirmed: whatever is published after that will be seen.
        """
        if not isinstance(channels, (list, tuple)) or not channels:
            raise InvalidInput('subscribe takes a list of channel names, as in ["session_updates"]')
        names = set(map(self._channel, channels))
        with self.connections.translating(), self._reading:
            if self._pubsub is None:
                self._pubsub, self._early = self.connections.listener(_LOOK_AROUND), ()
            self._pubsub.subscribe(*names)
            missing, patience = len(names), _PATIENCE
            while missing and patience:
                got = self._pubsub.get_message(timeout=_LOOK_AROUND)
                if got is None:
                    patience -= 1
                elif got["type"] == "subscribe":
                    missing -= 1
                else:
                    self._early = (*self._early, got)
        if missing:
            raise self.connections.unavailable("it did not confirm the subscription")

    def get_messages(self, timeout: float | None = None) -> Iterator[dict[str, Any]]:
        """Yield messages as they come: ``{"channel": name, "data": JSON value or text}``.

        Blocks; ends after ``timeout`` seconds without a message, or on ``unsubscribe`` or
        ``disconnect`` from another thread.
        """
        if self._pubsub is None:
            raise InvalidInput("nothing is subscribed to", hint="call subscribe([…]) first")
        quiet_since = self.clock.monotonic()
        while (pubsub := self._pubsub) is not None:
            raise_if_cancelled()
            with self.connections.translating(), self._reading:
                got: dict[str, Any] | None
                if self._early:
                    got, *rest = self._early
                    self._early = tuple(rest)
                elif self._pubsub is pubsub:
                    got = pubsub.get_message(ignore_subscribe_messages=True, timeout=_LOOK_AROUND)
                else:
                    return
            now = self.clock.monotonic()
            if got is not None:
                quiet_since = now
                channel = got["channel"].decode("utf-8", "surrogatepass")
                yield {
                    "channel": channel.removeprefix(self.keys.ns),
                    "data": _value(got["data"]),
                }
            elif timeout is not None and now - quiet_since >= timeout:
                return

    def unsubscribe(self) -> None:
        """Stop listening. Does nothing when not subscribed."""
        pubsub, self._pubsub, self._early = self._pubsub, None, ()
        if pubsub is not None:
            with self._reading:
                pubsub.close()

    def _channel(self, name: str) -> bytes:
        return self.keys.channel(name).encode("utf-8", "surrogatepass")


def _value(raw: bytes) -> Any:
    try:
        return loads(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")
