"""Pub/sub channels: notes to whoever listens right now. Nothing is kept for later."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .._mirror import raise_if_cancelled
from ..codec import check_json, dumps, loads
from ..errors import InvalidInput, StoreUnavailable
from ..forking import anew_in_child
from ..wire import Listener
from .base import StoreBase
from .patience import Patience

_LOOK_AROUND = 0.25
_PATIENCE = 4  # looks at a silent server


class Channels(StoreBase):
    """Publishing, subscribing and listening. One listener, in one thread, per store object."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._start_listening_anew()
        anew_in_child(self._start_listening_anew)

    def _start_listening_anew(self) -> None:
        self._reading = threading.RLock()  # held while the listener's connection is in use
        self._pubsub: Listener | None = None
        self._early: tuple[dict[str, Any], ...] = ()

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
        self._call("PING")  # an outage is told as by any other call
        with self.connections.translating(), self._reading:
            if (pubsub := self._pubsub) is None:
                pubsub = self.connections.listener(_LOOK_AROUND)
                self._pubsub, self._early = pubsub, ()
            pubsub.subscribe(*names)
            missing, patience = len(names), _PATIENCE
            while missing and patience:
                got = self._hear(pubsub)
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
        ``disconnect`` from another thread. When the connection is lost it subscribes anew and goes
        on; what was published meanwhile is lost, as Redis keeps none of it (``watch`` misses
        nothing). Raises StoreUnavailable if an outage takes longer than ``timeout``.
        """
        if self._pubsub is None:
            raise InvalidInput("nothing is subscribed to", hint="call subscribe([…]) first")
        quiet_since = self.clock.monotonic()
        patience = Patience(self.clock, "listening", timeout)
        while (pubsub := self._pubsub) is not None:
            raise_if_cancelled()
            got: dict[str, Any] | None
            try:
                with self.connections.translating(), self._reading:
                    if self._early:
                        got, *rest = self._early
                        self._early = tuple(rest)
                    elif self._pubsub is pubsub:
                        got = self._hear(pubsub, ignore_subscribe_messages=True)
                    else:
                        return
            except StoreUnavailable as exc:
                if self._pubsub is not pubsub:
                    return
                patience.pause(exc)
                continue
            patience.end()
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

    def _hear(self, pubsub: Listener, **options: Any) -> dict[str, Any] | None:
        """Return the next message, or None after a while; subscribed anew after a Ctrl-C.

        What that left half read would be taken for the beginning of the next message.
        """
        try:
            got: dict[str, Any] | None = pubsub.get_message(timeout=_LOOK_AROUND, **options)
        except BaseException as exc:
            if (connection := pubsub.connection) is not None:
                connection.disconnect()
            if self._pubsub is not pubsub and isinstance(exc, Exception):
                # A signal handler has closed it under our hands.
                raise self.connections.unavailable("it was disconnected meanwhile") from exc
            raise
        return got

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
