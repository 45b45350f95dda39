"""The one way to a socket: for commands, listeners, blocking reads, and the users' own clients.

Nothing here repeats anything: redis-py would repeat writes whose reply was lost. What may be
repeated is repeated in repeating.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..config.redis import RedisConfig
from .async_pool import AsyncPool, to_active, to_master
from .blocking import patient
from .client import ClientPool
from .cluster_client import async_cluster_client, cluster_client
from .durability import Demand
from .link import Link
from .link_kinds import TcpLink, TlsLink, UnixLink
from .master import Place, Watch
from .memory import memory_link
from .options import connection_options, for_asyncio
from .pool import Pool
from .resp import packer
from .to_active import ActiveTcpLink, ActiveTlsLink
from .to_master import MasterTcpLink, MasterTlsLink
from .topology import Endpoint, Node, Topology


class Connector:
    """Makes connections to the servers of a topology, as the configuration says.

    ``options`` is what redis-py is given for each of them, ``demand`` what their servers must do.
    """

    def __init__(self, config: RedisConfig, topology: Topology) -> None:
        self._config = config
        self._topology = topology
        self._is_tls = config.address.is_tls
        self._follows_master = config.address.kind == "redis+sentinel"
        self._is_one_of_several = config.address.kind == "redis+multidb"
        self._watch = Watch(self._link_to)
        self.demand: Demand = Demand(config)
        self.options: dict[str, Any] = connection_options(config)

    def link(self, node: Node, reply_timeout: float) -> Link:
        """Return a new connection to a server, not connected yet; it waits so long for a reply."""
        kind, options = self._kind(node)
        return kind(**options, socket_timeout=reply_timeout)

    def place(self, node: Node) -> Endpoint:
        """Return where a server is now."""
        return self._topology.endpoint(node)

    def pool(self, node: Node) -> Pool:
        """Return a new pool of connections to a server, each of which does what is demanded."""
        config = self._config
        return Pool(
            lambda: self.link(node, config.socket_timeout),
            config.max_connections,
            config.pool_timeout,
            self.demand.greet,
        )

    def client(self) -> redis.Redis:
        """Return a new redis-py client with a pool of its own; for a cluster a RedisCluster."""
        if self._config.address.kind == "redis+cluster":
            return cluster_client(self._config, self.options)
        return self.client_of(None)

    def client_of(self, node: Node | None) -> redis.Redis:
        """Return a new redis-py client of one server, any without a name, with its own pool."""
        kind, options = self._kind(self._topology.anywhere() if node is None else node)
        config = self._config
        pool = ClientPool(
            kind,
            config.max_connections,
            config.pool_timeout,
            socket_timeout=config.socket_timeout,
            **options,
        )
        return redis.Redis(connection_pool=pool)

    def async_client(self) -> redis.asyncio.Redis:
        """Return a new asyncio client with a pool of its own; for a cluster a RedisCluster."""
        if self._config.address.kind == "redis+cluster":
            return async_cluster_client(self._config, for_asyncio(self.options))
        node = self._topology.anywhere()
        kind: Any = redis.asyncio.SSLConnection if self._is_tls else redis.asyncio.Connection
        where: dict[str, Any] = {"socket_keepalive": True}
        locate, as_needed = partial(self._topology.endpoint, node), patient
        if self._follows_master:
            where |= {"locate": locate, "watch": self._watch}
            as_needed = to_master
        elif self._is_one_of_several:
            where["locate"], as_needed = locate, to_active
        else:
            endpoint = locate()
            if endpoint.memory is not None:
                import fakeredis

                return fakeredis.FakeAsyncRedis(server=endpoint.memory)
            if endpoint.host:
                where |= {"host": endpoint.host, "port": endpoint.port}
            else:
                where, kind = {"path": endpoint.path}, redis.asyncio.UnixDomainSocketConnection
        pool: Any = AsyncPool(
            connection_class=as_needed(kind),
            timeout=self._config.pool_timeout,
            max_connections=self._config.max_connections,
            socket_timeout=self._config.socket_timeout,
            retry=AsyncRetry(NoBackoff(), 0),
            **where,
            **for_asyncio(self.options),
        )
        return redis.asyncio.Redis(connection_pool=pool)

    def _speak_older_protocol(self) -> None:
        self.options["protocol"] = 2

    def _give_no_name(self) -> None:
        self.options.pop("client_name", None)

    def _link_to(self, place: Place) -> Link:
        """Return a new connection to a server that may be none of the topology's now."""
        kind = TlsLink if self._is_tls else TcpLink
        timeout = self._config.socket_timeout
        return kind(**self._to_host(lambda: Endpoint(*place)), socket_timeout=timeout)

    def _to_host(self, locate: Callable[[], Endpoint]) -> dict[str, Any]:
        return self._to_socket(locate) | {"socket_keepalive": True}

    def _to_socket(self, locate: Callable[[], Endpoint]) -> dict[str, Any]:
        return {
            "locate": locate,
            "command_packer": packer,
            "retry": Retry(NoBackoff(), 0),
            "on_older_protocol": self._speak_older_protocol,
            "on_no_name": self._give_no_name,
            **self.options,
        }

    def _kind(self, node: Node) -> tuple[type[Link], dict[str, Any]]:
        """Return the class for connections to a server, and what to make them with."""
        locate = partial(self._topology.endpoint, node)
        if self._follows_master:  # to ask where it is costs something, so only a connect does
            kind: type[Link] = MasterTlsLink if self._is_tls else MasterTcpLink
            return kind, self._to_host(locate) | {"watch": self._watch}
        if self._is_one_of_several:
            return ActiveTlsLink if self._is_tls else ActiveTcpLink, self._to_host(locate)
        endpoint = locate()
        if endpoint.memory is not None:
            kind, options = memory_link(endpoint.memory)
            return kind, {"locate": locate, **options}
        if not endpoint.host:
            return UnixLink, self._to_socket(locate)
        return TlsLink if self._is_tls else TcpLink, self._to_host(locate)
