"""One send and one receive on the socket of a connection that redis-py has made.

Python's own timeouts poll before each of them, and each of those calls lets another thread take the
interpreter: eight threads did no more than one. The kernel's timeouts (SO_RCVTIMEO) cost nothing.
They start anew after each signal, so the main thread, which gets the signals, polls all the same.

A connection that a router forgot is as silent as a server that takes its time. Half way through the
wait a new one tells: a server answers in order, so one that answers there has answered here.
"""

from __future__ import annotations

import _socket
import os
import select
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from socket import MSG_DONTWAIT, MSG_PEEK, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET
from threading import get_ident, main_thread
from typing import Any

import redis
from redis._parsers.base import BaseParser

hiredis: Any
try:
    import hiredis
except ImportError:
    hiredis = None

_AT_ONCE = 65536  # bytes
_SILENCE = 0.5
"""Seconds at most until a new connection is tried."""
HASTE = 0.3
"""Seconds for a new connection when the time is over already."""
_GRACE = 0.05
"""Seconds for what was answered before: what is between may hand on the later answer first."""
_MORE = object()
parse_error: Callable[[str], Exception] = BaseParser.parse_error
"""Makes the exception of an error that the server replied, given without the hyphen."""

IS_AVAILABLE = hiredis is not None
"""Without it, redis-py has to read the replies."""


Probe = Callable[[float, Any], bool]
"""Says whether a new connection is answered within so many seconds, and before anything comes on
the socket that is given."""


class Forgotten(redis.TimeoutError):
    """No answer comes over this connection, though a new one was answered."""


class Wire:
    """Sends and receives over a connected socket, waiting ``timeout`` seconds for each.

    For one thread at a time; after any exception it is of no more use.
    """

    def __init__(self, sock: Any, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._silence = min(timeout / 2, _SILENCE)
        self._reader = hiredis.Reader(
            protocolError=redis.InvalidResponse, replyError=parse_error, notEnoughData=_MORE
        )
        self._is_plain = _set_kernel_timeouts(sock, self._silence, timeout)
        self._gets_signals = main_thread().ident  # a forked child has wires of its own
        if self._is_plain:
            self._poller = select.poll()
            try:
                self._poller.register(sock, select.POLLIN)
            except ValueError as exc:  # a signal handler has just closed it
                raise OSError(str(exc)) from exc
            sock.settimeout(None)

    def send(self, data: bytes) -> None:
        """Send all of it, or raise OSError."""
        if self._is_plain and len(data) > _AT_ONCE:  # it may block, through many signals
            self._sock.settimeout(self._timeout)
            self._sock.sendall(data)
            self._sock.settimeout(None)
        else:
            self._sock.sendall(data)

    def receive(self, count: int, is_another_answered: Probe | None = None) -> list[Any]:
        """Return so many replies, errors of the server among them.

        ``is_another_answered`` is asked once it is silent. Raises Forgotten if it is, OSError or
        redis-py's exceptions.
        """
        reader = self._reader
        replies: list[Any] = []
        while len(replies) < count:
            reply = reader.gets()
            if reply is _MORE:
                reader.feed(self._read(is_another_answered))
            elif not isinstance(reply, hiredis.PushNotification):
                replies.append(reply)
        if reader.has_data():
            raise redis.InvalidResponse("there were more replies than commands")
        return replies

    def _read(self, is_another_answered: Probe | None) -> bytes:
        try:
            if self._is_plain and get_ident() == self._gets_signals:
                self._wait(self._silence)
            data: bytes = self._sock.recv(_AT_ONCE)
        except (BlockingIOError, TimeoutError):  # the kernel's, or Python's
            data = self._read_late(is_another_answered)
        if not data:
            raise redis.ConnectionError("Connection closed by server.")
        return data

    def _read_late(self, is_another_answered: Probe | None) -> bytes:
        """Receive what has not come in the first half of the time, or in all of it if not plain."""
        began, left = time.monotonic(), self._timeout - self._silence if self._is_plain else 0.0
        other = self._sock if self._is_plain else None
        is_forgotten = is_another_answered is not None and is_another_answered(left or HASTE, other)
        left = _GRACE if is_forgotten else max(0.0, left - (time.monotonic() - began))
        try:
            if self._is_plain:
                self._wait(left)
                return bytes(self._sock.recv(_AT_ONCE))
        except (BlockingIOError, TimeoutError):
            pass
        raise (Forgotten if is_forgotten else redis.TimeoutError)("Timeout reading from socket")

    def _wait(self, seconds: float) -> None:
        if not self._poller.poll(seconds * 1000):
            raise TimeoutError

    def is_quiet(self) -> bool:
        """Look whether it is open, with nothing to be read."""
        sock = self._sock
        try:
            if self._is_plain:
                sock.recv(1, MSG_PEEK | MSG_DONTWAIT)
            else:
                sock.settimeout(0)
                sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            if not self._is_plain:
                sock.settimeout(self._timeout)
            return True
        except OSError:
            pass
        return False


def comes_first(sock: Any, other: Any, end: float) -> bool:
    """Whether something comes on one plain socket by then, and on the other one nothing before."""
    poller = select.poll()
    for one in (sock, other):
        with suppress(ValueError):  # a signal handler has just closed it
            poller.register(one, select.POLLIN)
    ready = [number for number, _ in poller.poll(max(0.0, end - time.monotonic()) * 1000)]
    return ready == [sock.fileno()]


def _set_kernel_timeouts(sock: Any, receiving: float, sending: float) -> bool:
    """Give a socket the kernel's timeouts; return whether it has them.

    Neither TLS nor a socket that gevent has put in the place of Python's can do with them: there
    one read of ours is more than one call to the system.
    """
    if (
        os.name != "posix"
        or not isinstance(sock, _socket.socket)
        or isinstance(sock, ssl.SSLSocket)
    ):
        return False
    try:
        for option, seconds in ((SO_RCVTIMEO, receiving), (SO_SNDTIMEO, sending)):
            timeval = struct.pack("ll", *divmod(max(1, round(seconds * 1e6)), 1_000_000))
            sock.setsockopt(SOL_SOCKET, option, timeval)
    except OSError:
        return False
    return True
