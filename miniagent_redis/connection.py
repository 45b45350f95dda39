"""Connections to Redis in profiles, and one way to send a command.

Leaves out what the commands mean (store/), how scripts are loaded (scripts.py) and what faults mean
(faults.py). redis-py's exceptions end here: everybody above sees the errors of errors.py, and
``ReplyLost``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis import exceptions as rx

from .clients import Clients
from .clock import Clock, SystemClock
from .config import RedisConfig
from .errors import MiniAgentError, StoreUnavailable
from .faults import Faults, NoScript, Refused, ReplyLost, reason
from .forking import anew_in_child
from .health import Availability
from .wire import LOST, HeldConnections, HeldPool, Listener, Waiting, pack

T = TypeVar("T")
CALL_TIMEOUT = 0.8
"""Seconds for which an operation is repeated while Redis does not answer; one try may add its own
socket timeout."""
_OVERRUN = 0.5
"""Seconds by which the last try may end after the time for which an operation is repeated."""
_BLOCK_MARGIN = 5.0


class Connections:
    """All connections of one store. Opened by ``open``, closed by ``close``; safe for threads.

    A forked child gets connections of its own: redis-py's pools notice the fork.
    """

    def __init__(self, config: RedisConfig, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.address = config.address
        self._faults = Faults(self.address, config.max_connections)
        self._clients = Clients(config)
        self.availability = Availability(str(self.address), self.clock)
        self._own: redis.Redis | None = None
        self._held = HeldConnections()
        self._client: redis.Redis | None = None
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._opening = threading.RLock()

    def translating(self) -> AbstractContextManager[None]:
        """Turn redis-py's exceptions inside a ``with`` block into ours."""
        return self._faults.translating()

    def unavailable(self, cause: str) -> StoreUnavailable:
        """Build the error for a server that cannot be reached."""
        return self._faults.unavailable(cause)

    @property
    def is_memory(self) -> bool:
        return self.address.kind == "memory"

    @property
    def is_open(self) -> bool:
        return self._own is not None

    def open(self) -> None:
        """Connect and ask for a PING; answers within a second. Does nothing when already open.

        Raises StoreUnavailable when nobody answers, StoreMisconfigured when we are refused.
        """
        with self._opening:
            if self._own is not None:
                return
            self._clients.open()
            own = self._make()
            try:
                with self.translating():
                    own.ping()
            except BaseException:
                _close(own)
                self._clients.close()
                raise
            if self._own is not None:  # by a signal handler, or a stream that was collected
                return _close(own)
            pool, most = own.connection_pool, self.config.max_connections
            self._held = pool.held if isinstance(pool, HeldPool) else HeldConnections(pool, most)
            self._own = own

    def close(self) -> None:
        """Close every connection and leave the embedded server. Closing twice is fine."""
        with self._opening:
            self._held.close()
            for client in (self._own, self._client):
                if client is not None:
                    _close(client)
            self._own = self._client = None
            self._clients.close()

    def _make(self) -> redis.Redis:
        return self._clients.make(
            max_connections=self.config.max_connections, socket_timeout=self.config.socket_timeout
        )

    @property
    def client(self) -> redis.Redis:
        """A redis-py client for commands of others, with a pool of its own; it never retries."""
        if self._client is None:
            self.open()
            with self._opening:
                self._client = self._client or self._make()
        return self._client

    def listener(self, block: float) -> Listener:
        """Return a pub/sub connection for waits of up to ``block`` seconds; close it after use."""
        self.open()
        client = self._clients.make(socket_timeout=block + _BLOCK_MARGIN)
        return Listener(client.connection_pool)

    @contextmanager
    def waiting(self, block: float) -> Iterator[Waiting]:
        """Yield a connection of its own for commands that block up to ``block`` seconds."""
        self.open()
        client = self._clients.make(socket_timeout=block + self.config.socket_timeout)
        waiting = Waiting(client.connection_pool, self.translating)
        try:
            yield waiting
        finally:
            waiting.drop()
            _close(client)

    def async_client(self) -> redis.asyncio.Redis:
        """Return a new redis-py asyncio client of the same address; the caller closes it."""
        self.open()
        return self._clients.make_async(
            max_connections=self.config.max_connections, socket_timeout=self.config.socket_timeout
        )

    # --- sending -------------------------------------------------------------------------

    def call(self, *args: Any) -> Any:
        """Send one command that may safely be repeated; return its reply."""
        return self.call_many([args])[0]

    def call_many(self, commands: Sequence[Sequence[Any]]) -> Any:
        """Send commands that may safely be repeated, in one round trip; return their replies.

        Not atomic. Repeated for CALL_TIMEOUT seconds while the server is away. Raises
        StoreUnavailable, StoreMisconfigured or ReplyLost.
        """
        writes = commands[0][0] in ("SET", "ZADD")
        return self.persist(lambda: self.exchange(commands), writes=writes)

    def exchange(self, commands: Sequence[Sequence[Any]], nonce: bytes | None = None) -> list[Any]:
        """Send commands once over one connection and read every reply.

        With ``nonce``, each reply must be a list that starts with it. A connection on which
        anything else happened, a Ctrl-C included, is disconnected before it goes back to the
        pool: an unread reply would be handed to the next caller.
        """
        if self._own is None:
            self.open()
        held = self._held
        try:
            connection = held.take()
        except (rx.RedisError, OSError) as exc:
            raise self._faults.before_sending(exc) from exc
        healthy = False
        try:
            connection.send_packed_command([pack(commands)], check_health=False)
            replies = [self._read(connection) for _ in commands]
            healthy = nonce is None or all(
                isinstance(reply, Exception) or (isinstance(reply, list) and reply[:1] == [nonce])
                for reply in replies
            )
        except (rx.BusyLoadingError, rx.AuthenticationError) as exc:
            # These are answers, though redis-py counts them among a connection's faults.
            raise self._faults.refusal(exc) from exc
        except LOST as exc:
            raise ReplyLost(reason(exc)) from exc
        finally:
            held.give(connection, in_order=healthy)
        if not healthy:
            raise ReplyLost("the connection held another caller's reply")
        for reply in replies:
            if isinstance(reply, rx.ResponseError):
                raise self._faults.refusal(reply) from reply
        return replies

    @staticmethod
    def _read(connection: Any) -> Any:
        try:
            return connection.read_response()
        except rx.ResponseError as exc:
            return exc  # an answer like any other: the connection is in order

    def probe(self) -> None:
        """Try a PING once, also when Redis is known to be down. Raises as ``call`` does.

        Where it refuses writes, a script instead, which it refuses as well, and which writes none.
        """
        writes = self.availability.refuses_writes
        command = ("EVAL", "#!lua\nreturn 1", 0) if writes else ("PING",)
        self.persist(lambda: self.exchange([command]), insist=0, writes=writes)

    def persist(
        self, attempt: Callable[[], T], insist: float | None = None, *, writes: bool = False
    ) -> T:
        """Repeat ``attempt`` until it succeeds, is refused for good, or its time has passed.

        The attempt must be one that does no harm when it is executed twice. Once a reply was
        lost the outcome stays uncertain until a reply arrives, so ReplyLost is what is raised
        then, whatever the later tries met. The time is CALL_TIMEOUT, and while Redis is known to
        be down there is one try at the most; or ``insist`` seconds in any case. ``writes`` is
        whether the attempt is one that a server without memory, or a replica, refuses.
        """
        is_hopeless = insist is None and self.availability.is_down
        if is_hopeless:
            self.availability.check_in()
        deadline = time.monotonic() + (CALL_TIMEOUT if insist is None else insist)
        pause = 0.01
        lost: ReplyLost | None = None
        while True:
            began = time.monotonic()
            try:
                result = attempt()
            except ReplyLost as exc:
                lost = exc
                last: MiniAgentError = self.unavailable(str(exc))
                is_outage, is_last = True, not self.config.retry_on_timeout
                refuses_writes = False
            except Refused as exc:
                last = exc.error
                is_outage, is_last = exc.is_outage, False
                refuses_writes = exc.refuses_writes
                with suppress(MiniAgentError):  # it is tried again, like the operation
                    self._clients.revive()
            except MiniAgentError:
                if lost:  # this try was refused for good; an earlier one may have been executed
                    raise lost from None
                raise
            else:
                self.availability.answered(wrote=writes)
                return result
            now = time.monotonic()
            next_end = now + pause + (now - began)
            if is_last or is_hopeless or now + pause > deadline or next_end > deadline + _OVERRUN:
                if is_outage:
                    self.availability.failed(last, now - began, refuses_writes=refuses_writes)
                raise lost or last
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.25)


def _close(client: redis.Redis) -> None:
    client.close()
    client.connection_pool.disconnect()


__all__ = ["Connections", "NoScript", "ReplyLost"]
