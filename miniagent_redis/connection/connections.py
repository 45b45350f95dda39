"""The connections of a store, and one way to send a command.

Leaves out what the commands mean (store/), how scripts are loaded (store/scripts.py), what faults
mean (faults.py) and how a socket is come by (connector.py). redis-py's exceptions end here:
everybody above sees the errors of errors.py, and ``ReplyLost``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, TypeVar

import redis.asyncio
from attrs import evolve

from ..config.address import Address
from ..config.redis import RedisConfig
from ..errors import MiniAgentError, StoreUnavailable
from ..runtime.clock import Clock, SystemClock
from ..runtime.forking import reset_after_fork
from ..telemetry import Exchange, Telemetry
from .availability import Availability, Health
from .client import close, own_pool
from .connector import Connector
from .exchange import checked, connected, exchange
from .faults import Faults, NoScript, Refused, ReplyLost
from .figures import Figures
from .link import Link
from .listeners import Listeners
from .pool import Pool
from .redirecting import follow, in_groups
from .repeating import Repeating
from .replicating import Replicas
from .topology import Command, Node, Topology
from .topology.choose import choose
from .topology.cluster import Cluster
from .versions import PROBE_SCRIPT

T = TypeVar("T")


class Connections:
    """All connections of one store. Opened by ``open``, closed by ``close``; safe for threads.

    A forked child gets connections of its own.
    """

    def __init__(
        self,
        config: RedisConfig,
        clock: Clock | None = None,
        topology: Topology | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self.address: Address = config.address
        self.availability: Availability = Availability(str(self.address), self.clock)
        self._topology: Topology = topology or choose(config)
        self._faults = Faults(config)
        self.connector: Connector = Connector(config, self._topology)
        self._replicas = Replicas(config)
        self._telemetry = telemetry
        self._repeating = Repeating(self.availability, self.unavailable, self._heal, config)
        self._pools: dict[Node, Pool] = {}
        self._cluster = self._topology if isinstance(self._topology, Cluster) else None
        self.listening: Listeners = Listeners(self, config, self._cluster)
        self._repeating.on_settled = self.listening.renew
        self._is_open = False
        self._client: redis.Redis | None = None
        self._start_anew()

    @reset_after_fork
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
        return self._is_open

    def open(self) -> None:
        """Connect and ask for a PING; answers within a second. Does nothing when already open.

        Raises StoreUnavailable when nobody answers, StoreMisconfigured when we are refused.
        """
        with self._opening:
            if self._is_open:
                return
            self._topology.open()
            node = self._topology.anywhere()
            pool = self.connector.pool(node)
            try:
                checked(exchange(pool, [("PING",)], None, self._faults), self._faults)
            except BaseException as exc:
                pool.close()
                self._topology.close()
                if isinstance(exc, Refused):
                    raise exc.error from exc.__cause__
                if isinstance(exc, ReplyLost):
                    raise self.unavailable(str(exc)) from exc
                raise
            if self._is_open:  # a signal handler, or what the garbage collection ran, opened it
                return pool.close()
            self._pools = {node: pool}
            self._is_open = True
            self.connector.demand.inspect([node], self.exchange_at, self.availability, briefly=True)

    def close(self) -> None:
        """Close every connection and leave the embedded server. Closing twice is fine."""
        with self._opening:
            self._is_open = False
            self.listening.close()
            for pool in list(self._pools.values()):
                pool.close()
            if self._client is not None:
                close(self._client)
            self._pools, self._client = {}, None
            self._topology.close()

    def _pool(self, node: Node) -> Pool:
        if not self._is_open:
            self.open()
        pool = self._pools.get(node)
        if pool is None:
            with self._opening:
                pool = self._pools.setdefault(node, self.connector.pool(node))
        return pool

    @property
    def pool(self) -> Pool:
        """The connections for commands that any server of the store serves."""
        return self._pool(self._topology.anywhere())

    @property
    def client(self) -> redis.Redis:
        """A redis-py client for commands of others, with a pool of its own; it never retries."""
        client = self._client
        if client is None:
            self.open()
            with self._opening, self.translating():
                client = self._client = self._client or self.connector.client()
        return client

    def listening_link(self, node: Node | None = None) -> Link:
        """Return a connection of its own for a listener, connected to a server, by default to any.

        Raises StoreUnavailable, also when these are closed, or StoreMisconfigured.
        """
        if not self._is_open:
            raise self.unavailable("it was disconnected meanwhile")
        link = self.connector.link(node or self._topology.anywhere(), self.config.socket_timeout)
        try:
            connected(link.connect, self._faults)
        except Refused as exc:
            self._heal(exc.moves)  # the next one may be another server's
            raise exc.error from exc.__cause__
        return link

    def async_client(self) -> redis.asyncio.Redis:
        """Return a new redis-py asyncio client of the same address; the caller closes it."""
        self.open()
        return self.connector.async_client()

    def figures(self) -> Figures:
        """Return what is going on, and what was: for all servers together."""
        pools, own, told = list(self._pools.values()), own_pool(self._client), self._repeating
        return Figures.of(pools, own, told.retries, told.lost_replies, self.listening.count)

    def health(self, latency: float | None) -> Health:
        """Return the state as of the last call, which took so long; None if it had no answer."""
        if latency is None:
            return self.availability.current(latency)
        demand, nodes = self.connector.demand, self._topology.everywhere()
        name = demand.inspect(nodes, self.exchange_at, self.availability)
        return evolve(self.availability.current(latency), durability=name)

    # --- sending -------------------------------------------------------------------------

    def call(self, *args: Any) -> Any:
        """Send one command that may safely be repeated; return its reply."""
        return self.call_many([args])[0]

    def call_many(self, commands: Sequence[Command], operation: str = "") -> list[Any]:
        """Send commands that may safely be repeated, in one round trip; return their replies.

        Not atomic, and a round trip for each server that is asked. Repeated for CALL_TIMEOUT
        seconds while the server is away. Raises StoreUnavailable, StoreMisconfigured or ReplyLost.
        """
        name = commands[0][0]
        return self.persist(
            lambda: in_groups(commands, self.node, self.exchange),
            operation=operation or name,
            commands=len(commands),
            writes=name in ("SET", "ZADD"),
        )

    def call_at(self, node: Node, *command: Any) -> Any:
        """Send one command to a certain server, as ``call``."""
        return self.persist(lambda: self.exchange_at(node, command), operation=command[0])

    def exchange_at(self, node: Node, command: Command) -> Any:
        """Send one command once, to a certain server; return its reply."""
        return checked(self._send(None, node, [command]), self._faults)[0]

    @property
    def everywhere(self) -> Sequence[Node]:
        """The servers that have all keys between them."""
        self.open()
        return self._topology.everywhere()

    def node(self, command: Command) -> Node:
        """Return which server serves a command now."""
        if not self._is_open:
            self.open()  # before that the nodes are not known
        return self._topology.node(command)

    def exchange(
        self, commands: Sequence[Command], nonce: bytes | None = None, *, mark: str = ""
    ) -> list[Any]:
        """Send commands once over one connection and read every reply.

        All go to the server of the first. With ``nonce``, each script's reply must be a list that
        starts with it; behind it may stand a space and more. A connection on which anything else
        happened, a Ctrl-C included, is disconnected before it goes back to the pool: an unread
        reply would be handed to the next caller. With ``mark``, a key of the same slot, replicas
        have to confirm.
        """
        node = self.node(commands[0])
        if self._cluster is not None:
            replies = follow(self._cluster, node, commands, partial(self._send, nonce, mark=mark))
        else:
            replies = self._send(nonce, node, commands, mark)
        return checked(replies, self._faults)

    def _send(
        self, nonce: bytes | None, node: Node, commands: Sequence[Command], mark: str = ""
    ) -> list[Any]:
        confirming = (self._replicas, mark) if mark else None
        return exchange(self._pool(node), commands, nonce, self._faults, confirming)

    def probe(self) -> None:
        """Try a PING once, also when Redis is known to be down. Raises as ``call`` does.

        Where it refuses writes, a script instead, which it refuses as well, and which writes none.
        """
        writes = self.availability.refuses_writes
        command = PROBE_SCRIPT if writes else ("PING",)
        self.persist(
            lambda: self.exchange([command]), insist=0, operation=command[0], writes=writes
        )

    def persist(
        self,
        attempt: Callable[[], T],
        insist: float | None = None,
        *,
        operation: str,
        commands: int = 1,
        writes: bool = False,
    ) -> T:
        """Repeat ``attempt`` as ``Repeating.persist`` says.

        An instrument is told of an exchange of so many ``commands``, called ``operation``.
        """
        if self._telemetry is None:
            return self._repeating.persist(attempt, insist, writes=writes)
        told = Exchange(operation, str(self.address), commands)

        def counted() -> T:
            told.tries += 1
            return attempt()

        with self._telemetry.around(told):
            return self._repeating.persist(counted, insist, writes=writes)

    def _heal(self, moves: bool) -> None:
        """Look again for the servers; the client leaves those that may have changed their role."""
        if moves and (pool := own_pool(self._client)) is not None:
            pool.renew()
        for node in self._pools.copy():
            with suppress(MiniAgentError):  # it is tried again, like the operation
                self._topology.heal(node)


__all__ = ["Connections", "NoScript", "ReplyLost"]
