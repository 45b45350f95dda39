"""redis-py's own clients for a cluster, for commands of the store's users.

They follow the cluster by themselves and keep connections to each node. They repeat no command
whose reply was lost: it may have been executed.
"""

from __future__ import annotations

from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from ..config.redis import RedisConfig
from .naming import naming


def cluster_client(config: RedisConfig, options: dict[str, Any]) -> redis.Redis:
    """Return a ``RedisCluster``, which has the commands of ``Redis``; it is connected.

    Raises redis-py's exceptions.
    """
    options = dict(options)
    if (name := options.pop("client_name", None)) is not None:
        options["redis_connect_func"] = naming(name)
    kind: Any = ClusterNode
    nodes = [kind(*node) for node in config.address.nodes]
    try:
        client: Any = redis.RedisCluster(
            startup_nodes=nodes, retry=Retry(NoBackoff(), 0), **_of_a_node(config, options)
        )
    except RedisClusterException as exc:
        raise redis.ConnectionError(str(exc)) from exc
    return cast(redis.Redis, client)


def async_cluster_client(config: RedisConfig, options: dict[str, Any]) -> redis.asyncio.Redis:
    """Return a ``RedisCluster`` of asyncio, which connects with its first command."""
    options = dict(options)
    name = options.pop("redis_connect_func", None)
    nodes = [AsyncClusterNode(*node) for node in config.address.nodes]
    client: Any = redis.asyncio.RedisCluster(
        startup_nodes=nodes, retry=AsyncRetry(NoBackoff(), 0), **_of_a_node(config, options)
    )
    if name is not None:  # each node that it finds takes these; it cannot be given them
        client.get_connection_kwargs()["redis_connect_func"] = name
    return cast(redis.asyncio.Redis, client)


def _of_a_node(config: RedisConfig, options: dict[str, Any]) -> dict[str, Any]:
    """Return what each connection to a node is made with."""
    limits = {"socket_timeout": config.socket_timeout, "max_connections": config.max_connections}
    given = {name: value for name, value in options.items() if name != "db"}  # there is only one
    if config.address.is_tls:
        given["ssl"] = True
    return {**given, **limits, "require_full_coverage": False}
