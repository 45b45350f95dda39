"""The bytes to Redis: commands packed, and connections held at hand between calls.

Taking a connection out of redis-py's pool and putting it back costs a fifth of a turn; the one
used last needs no more than a look at its socket.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import redis
from redis import exceptions as rx
from redis.client import PubSub
from redis.connection import PythonRespSerializer

from .forking import anew_in_child

POOL_WAIT = 0.5
"""Seconds to wait for a free connection before they are reported as exhausted."""
# A waiting thread looks instead of being told: a Condition that is interrupted while it is entered
# stays locked.
_LOOK_AGAIN = (0.001, 0.01)  # seconds, from the first time to the later ones
_COLLECT_PAUSE = 5.0
"""Seconds between searches for lost connections: each holds up all threads of the process."""
LOST = (rx.RedisError, OSError, AttributeError)
"""What a call raises that lost its connection; the last by redis-py before 8, when it was closed by
another thread, or by a signal handler."""
_PACK_AT_ONCE = 6000  # bytes, as in redis-py
_LENGTHS = [b"$%d\r\n" % length for length in range(128)]


def pack(commands: Sequence[Sequence[Any]]) -> bytes:
    """Write commands in RESP. https://redis.io/docs/latest/develop/reference/protocol-spec/."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for item in command:
            raw = item if isinstance(item, bytes) else str(item).encode()
            size = len(raw)
            parts += (_LENGTHS[size] if size < 128 else b"$%d\r\n" % size, raw, b"\r\n")
    return b"".join(parts)


class HeldConnections:
    """Up to ``most`` connections, the idle ones on a stack. Safe for threads.

    They are counted by weak references: one that a signal handler's exception, thrown between any
    two lines, left with nobody is collected and no longer counts. A pool of redis-py's would be
    one connection short for good. A forked child starts with none.
    """

    _next_collection = 0.0

    def __init__(self, pool: Any = None, most: int = 0) -> None:
        self._pool = pool
        self._most = most
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self._idle: list[Any] = []
        self._making = threading.RLock()

    def take(self) -> Any:
        """Return a connection in order for one exchange; give it back whatever happens.

        Raises redis-py's ConnectionError, also when all are in use and none came back in time.
        """
        deadline = time.monotonic() + POOL_WAIT
        pause, longest = _LOOK_AGAIN
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                if (connection := self._make(time.monotonic() > deadline)) is not None:
                    return connection
                time.sleep(pause)
                pause = min(pause * 1.5, longest)
                continue
            try:
                if not connection.can_read(timeout=0):
                    return connection
            except LOST:
                pass
            # Something unread, or closed by the server: it must not be used as it is.
            self.give(connection, in_order=False)

    def _make(self, last_try: bool) -> Any:
        """Return a new connection, or None if there are enough; that is an error in the end."""
        if last_try and len(self._alive) >= self._most:
            now = time.monotonic()
            if now >= HeldConnections._next_collection:
                HeldConnections._next_collection = now + _COLLECT_PAUSE
                gc.collect()  # some may be in circles of references
        connection = None
        if len(self._alive) < self._most:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            with self._making:
                self._alive.add(connection)
                if len(self._alive) > self._most:  # others were faster
                    self._alive.discard(connection)
                    connection = None
        if connection is None:
            if last_try:
                raise rx.ConnectionError("No connection available.")
            return None
        try:
            connection.connect()
        except BaseException as exc:
            self.give(connection, in_order=False)
            if isinstance(exc, AttributeError):
                raise rx.ConnectionError("It was closed meanwhile.") from exc
            raise
        return connection

    def give(self, connection: Any, *, in_order: bool) -> None:
        """Take a connection back; one that is not in order is disconnected and forgotten."""
        if in_order:
            self._idle.append(connection)
        else:
            connection.disconnect()
            self._alive.discard(connection)

    def close(self) -> None:
        """Disconnect all of them."""
        self._idle.clear()
        for connection in list(self._alive):
            connection.disconnect()


class HeldPool(redis.ConnectionPool):
    """Held connections for redis-py's client.

    Its own pools hand a connection on with the unread reply of the call that was interrupted, lose
    one at times, and the blocking one may stay locked.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # That of hiredis 3.5 ends the process with a segmentation fault when a Ctrl-C comes while
        # it writes a number, as each new connection does.
        packer = PythonRespSerializer(_PACK_AT_ONCE, self.get_encoder().encode)
        self.connection_kwargs["command_packer"] = packer
        self.held = HeldConnections(self, self.max_connections)

    def get_connection(self, *_: Any, **__: Any) -> Any:
        return self.held.take()

    def release(self, connection: Any) -> None:
        # It is called while the exception that ended the command is on its way, if there is one.
        fault = sys.exception()
        self.held.give(connection, in_order=fault is None or isinstance(fault, rx.ResponseError))

    def disconnect(self, inuse_connections: bool = True) -> None:
        self.held.close()


class _Flag:
    """What redis-py needs of an Event."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            time.sleep(timeout)
        return self._is_set


class Listener(PubSub):
    """A pub/sub connection of redis-py's, without the Event in it.

    The Event's Condition stays locked when a Ctrl-C comes while it is entered. Whatever closes the
    listener would hang then, and Python closes it whenever it is dropped.
    """

    def __init__(self, pool: Any) -> None:
        self._flag = _Flag()
        super().__init__(pool)

    @property
    def subscribed_event(self) -> Any:
        return self._flag

    @subscribed_event.setter
    def subscribed_event(self, event: object) -> None:
        """Take no other one."""


class Waiting:
    """One connection, made at the first call and after each fault. For one thread.

    Unlike a pool it is not renewed in silence: as long as calls succeed the server is the same. A
    forked child makes its own.
    """

    def __init__(self, pool: Any, translating: Callable[[], AbstractContextManager[None]]) -> None:
        self._pool = pool
        self._translating = translating
        self._connection: Any = None
        anew_in_child(self.drop)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def call(self, *command: Any) -> Any:
        """Send a command and return its reply; raises StoreUnavailable or StoreMisconfigured."""
        with self._translating():
            try:
                if self._connection is None:
                    # Not by way of the pool: it counts a dropped one for as long as anything, such
                    # as an error that was logged, refers to it.
                    self._connection = self._pool.connection_class(**self._pool.connection_kwargs)
                    self._connection.connect()
                self._connection.send_packed_command([pack([command])], check_health=False)
                return self._connection.read_response()
            except BaseException:
                self.drop()
                raise

    def drop(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
