"""Which topology an address names."""

from __future__ import annotations

from ...config.redis import RedisConfig
from .cluster import Cluster
from .multidb import ActiveDatabase
from .one import OneServer
from .sentinel import SentinelMaster
from .topology import Topology


def choose(config: RedisConfig) -> Topology:
    """Return the topology of the configured address; it is not open yet."""
    if config.address.kind == "redis+sentinel":
        return SentinelMaster(config)
    if config.address.kind == "redis+cluster":
        return Cluster(config)
    if config.address.kind == "redis+multidb":
        return ActiveDatabase(config)
    return OneServer(config.address)
