"""The connection that a listener reads: what goes out on it, and what comes in, in its order.

It may be written to by others than the one who reads. Redis answers commands in their order, but
between two answers anything may come that was published.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal, Protocol

import redis
from attrs import frozen

from ..errors import StoreUnavailable
from .link import LOST, Link
from .refusals import is_of_another
from .topology import Node

_AT_ONCE = 1000  # messages; then others may write
_ANSWERS = (b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe", b"pong")


@frozen
class Heard:
    """A message, or the answer to SUBSCRIBE: ``error`` is why that was refused.

    ``ended``: the server says by itself that it will tell nothing more of the channel.
    """

    kind: Literal["message", "subscribed", "refused", "ended"]
    channel: bytes
    data: bytes = b""
    error: Exception | None = None


class Source(Protocol):
    """What makes a connection, and what its faults mean."""

    def listening_link(self, node: Node | None) -> Link:
        """Return a link that is connected to a server; without a name to any.

        Raises StoreUnavailable or StoreMisconfigured.
        """
        ...

    def translating(self) -> AbstractContextManager[None]: ...
    def unavailable(self, cause: str) -> StoreUnavailable: ...


class Line:
    """A pub/sub connection; if ``is_sharded``, for channels of the slots that its server has.

    All but ``wait`` and ``close`` are called with a lock of the owner's.

    ``read``, like the others, raises redis-py's exceptions or OSError when it is lost. Over TLS
    nobody may write while another one reads, hence the lock.
    """

    def __init__(self, link: Link, *, is_sharded: bool = False) -> None:
        self.asked: int = 0  # commands
        self.answered: int = 0
        self._link = link
        self._subscribe = "SSUBSCRIBE" if is_sharded else "SUBSCRIBE"
        self._unsubscribe = "SUNSUBSCRIBE" if is_sharded else "UNSUBSCRIBE"
        self._sent: deque[tuple[str, bytes]] = deque()  # what is still to be answered
        self._latest: dict[bytes, tuple[int, str]] = {}  # of those, the last on each channel
        self._heard_at = self._sent_at = time.monotonic()
        self._may_have_more = False

    @property
    def _is_connected(self) -> bool:
        """Whether it still is; redis-py would connect again, in silence."""
        return self._link._sock is not None

    def subscribe(self, channels: Iterable[bytes]) -> None:
        """Ask for channels, each by a command of its own: one that is refused spoils no other."""
        self._send([(self._subscribe, one) for one in channels if not self._is_asked_for(one)])

    def unsubscribe(self, channels: Iterable[bytes]) -> None:
        self._send([(self._unsubscribe, one) for one in channels])

    def ask(self) -> int:
        """Ask for a sign of life; return what ``answered`` is at least once it has come."""
        self._send([("PING", b"")])
        return self.asked

    def _is_asked_for(self, channel: bytes) -> bool:
        latest = self._latest.get(channel)
        return latest is not None and latest[1] == self._subscribe

    def _send(self, commands: Sequence[tuple[str, bytes]]) -> None:
        if not commands or not self._is_connected:  # whoever reads meets it, and tells
            return
        try:
            self._sent_at = time.monotonic()
            for command, channel in commands:
                self.asked += 1
                self._sent.append((command, channel))
                if channel:
                    self._latest[channel] = self.asked, command
            packed = self._link.pack_commands([list(filter(None, one)) for one in commands])
            self._link.send_packed_command(packed, check_health=False)
        except BaseException as exc:
            self._link.disconnect()  # nobody knows what was sent of it
            if not isinstance(exc, LOST):
                raise

    def read(self) -> list[Heard]:
        """Return what has come, without waiting for more."""
        heard: list[Heard] = []
        self._may_have_more = False
        try:
            while self._is_connected and self._link.can_read(timeout=0):
                if len(heard) == _AT_ONCE:
                    self._may_have_more = True
                    return heard
                try:
                    reply = self._link.read_response(push_request=True)
                except redis.ResponseError as exc:
                    reply = exc
                except redis.AuthenticationError as exc:  # a new connection may be let in
                    raise redis.ConnectionError(str(exc)) from exc
                self._heard_at = time.monotonic()
                if (one := self._understand(reply)) is not None:
                    heard.append(one)
        except (AttributeError, TypeError, ValueError) as exc:  # redis-py looks for the socket
            if self._is_connected:
                raise
            raise redis.ConnectionError("it was closed meanwhile") from exc
        if not self._is_connected:
            raise redis.ConnectionError("it was closed meanwhile")
        if self._link.is_elsewhere:
            raise redis.ConnectionError("another database is used now")
        return heard

    def _understand(self, reply: Any) -> Heard | None:
        if isinstance(reply, list):
            if reply[0] in (b"message", b"smessage"):
                return Heard("message", reply[1], reply[2])
            if reply[0] not in _ANSWERS:  # some other push
                return None
            if reply[0] == b"sunsubscribe" and not (
                self._sent and self._sent[0] == (self._unsubscribe, reply[1])
            ):  # not asked for: the slot went to another server
                return Heard("ended", reply[1])
        command, channel = self._sent.popleft() if self._sent else ("", b"")
        if not isinstance(reply, Exception) and not _answers(reply, command, channel):
            raise redis.ConnectionError(f"an answer to something else: {reply!r:.80}")
        if command == "PING" and isinstance(reply, Exception) and is_of_another(reply):
            raise reply  # no sign of life of the server that is wanted
        self.answered += 1
        if self._latest.get(channel) != (self.answered, command):
            return None  # a sign of life, or another command on the channel is under way
        del self._latest[channel]
        if command == self._unsubscribe:  # if that is refused, what comes is passed over
            return None
        if isinstance(reply, Exception):
            return Heard("refused", channel, error=reply)
        return Heard("subscribed", channel)

    def silent_for(self) -> float:
        """Return for how many seconds nothing has come."""
        return time.monotonic() - self._heard_at

    @property
    def is_awaiting(self) -> bool:
        """Whether an answer is under way."""
        return bool(self._sent)

    def is_overdue(self, patience: float) -> bool:
        """Return whether an answer is awaited, and nothing has come for ``patience`` seconds."""
        return self.is_awaiting and time.monotonic() - max(self._sent_at, self._heard_at) > patience

    def wait(self, seconds: float) -> None:
        """Block until something has come, or for so long."""
        if self._may_have_more or not self._is_connected:
            return
        sock = self._link._sock
        with suppress(*LOST, ValueError):  # closed meanwhile
            if not isinstance(sock, socket.socket):  # that of fakeredis
                self._link.can_read(timeout=seconds)
            elif hasattr(select, "poll"):
                poller = select.poll()
                poller.register(sock, select.POLLIN)
                poller.poll(seconds * 1000)
            else:
                select.select([sock], [], [], seconds)

    def close(self) -> None:
        """Disconnect, which wakes who waits. Twice is fine."""
        self._link.disconnect()


def _answers(reply: Any, command: str, channel: bytes) -> bool:
    if command == "PING":
        return reply == b"PONG" or (isinstance(reply, list) and reply[0] == b"pong")
    return isinstance(reply, list) and reply[:2] == [command.lower().encode(), channel]
