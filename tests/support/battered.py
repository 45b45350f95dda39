"""What a storm rages over: one server behind a proxy that loses replies, or several that fail over.

Nothing that was acknowledged may be lost, so one server syncs each write, and a master is killed
once a replica has everything: replication does not wait for replicas (docs/guarantees.md).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import redis

from tests.support.cluster import ClusterServers
from tests.support.proxy import Proxy
from tests.support.sentinels import Watched
from tests.support.servers import RedisServer
from tests.support.tls import Authority, TlsServer, authority
from tests.support.waiting import LIMIT, until

Kind = Literal["single", "sentinel", "cluster", "tls"]
LOSE = 0.05
_SYNCED = ("--appendonly", "yes", "--appendfsync", "always")
_LONGEST_DOWN = 1.0  # seconds for which a killed server stays away
_SLOTS = 50  # that move at once


class Battered(Protocol):
    """Servers that are up; ``url`` is that for clients, ``calm_url`` for who looks afterwards."""

    @property
    def url(self) -> str: ...

    @property
    def calm_url(self) -> str: ...

    @property
    def replies_lost(self) -> int: ...

    def strike(self) -> None:
        """Kill a server, or move what it has; blocks until others can go on."""
        ...


@contextmanager
def battered(kind: Kind, dice: random.Random) -> Iterator[Battered]:
    """Start the servers of a kind; ``tls`` is a single one over TLS."""
    if kind == "sentinel":
        with Watched() as watched:
            yield _Masters(watched)
    elif kind == "cluster":
        with ClusterServers() as cluster:
            yield _Nodes(cluster, dice)
    elif kind == "tls":
        with (
            authority() as ca,
            TlsServer(ca, ca.issue("localhost"), *_SYNCED) as speaking,
            _one(speaking, dice, ca) as one,
        ):
            yield one
    else:
        with RedisServer(*_SYNCED) as server, _one(server, dice) as one:
            yield one


@contextmanager
def _one(
    server: RedisServer, dice: random.Random, ca: Authority | None = None
) -> Iterator[Battered]:
    with Proxy(server.socket, random.Random(dice.random()), ca) as proxy:
        proxy.lose = LOSE
        yield _One(server, proxy, dice)


class _One:
    def __init__(self, server: RedisServer, proxy: Proxy, dice: random.Random) -> None:
        self._server, self._proxy, self._dice = server, proxy, dice
        self.url = proxy.url
        self.calm_url = server.trusting_url if isinstance(server, TlsServer) else server.url

    @property
    def replies_lost(self) -> int:
        return self._proxy.lost

    def strike(self) -> None:
        self._server.kill()
        threading.Event().wait(self._dice.uniform(0, _LONGEST_DOWN))
        self._server.start()


class _Masters:
    replies_lost = 0  # but those of the servers that are killed

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self.url = self.calm_url = watched.url

    def strike(self) -> None:
        """Kill the master; it comes back when there is another one."""
        until(self._watched.is_settled)
        master = self._watched.named
        client = self._watched.client(master)
        client.client_pause(int(LIMIT * 1000), all=False)
        replicas = [one for one in self._watched.servers if one is not master]
        until(lambda: all(self._is_level(one, client) for one in replicas))
        master.kill()
        self._watched.await_another(master)
        master.start()

    def _is_level(self, replica: RedisServer, master: redis.Redis) -> bool:
        told: Any = self._watched.client(replica).info("replication")
        wanted: Any = master.info("replication")
        return bool(told["slave_repl_offset"] == wanted["master_repl_offset"])


class _Nodes:
    replies_lost = 0  # but those of the servers that are killed

    def __init__(self, cluster: ClusterServers, dice: random.Random) -> None:
        self._cluster, self._dice = cluster, dice
        self.url = self.calm_url = cluster.url

    def strike(self) -> None:
        """Move slots, or kill a master, which comes back when its replica is one."""
        masters = list(self._cluster.serving())
        if self._dice.random() < 0.5:
            source, target = self._dice.sample(masters, 2)
            for slot in self._dice.sample(source.slots(), _SLOTS):
                self._cluster.move(slot, source, target)
        else:
            ids = {node.id for node in masters}
            self._cluster.replace_by(
                self._dice.choice([node for node in self._cluster.nodes if node.id not in ids])
            )
