"""All who listen in one process: to one server, or in a cluster to each that tells something.

In a cluster PUBLISH tells all nodes of each message, so whoever listens may ask any of them. What
wakes who waits goes by SPUBLISH instead, which stays with the node that has the slot: that costs
the others nothing, and who waits listens there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Literal

from ..config.redis import RedisConfig
from ..errors import StoreMisconfigured
from .line import Source
from .listening import Listening
from .redirecting import Share
from .subscriptions import Channel, Subscriber
from .topology import Node
from .topology.cluster import Cluster

log: logging.Logger = logging.getLogger("miniagent_redis")


class Listeners:
    """One ``Listening`` for each server that somebody listens to. Safe for threads and forks.

    ``anywhere`` is for what all servers tell, and the only one without slots. ``wakes_by`` is the
    command that wakes who waits.
    """

    def __init__(self, source: Source, config: RedisConfig, cluster: Cluster | None) -> None:
        answer_limit = config.socket_connect_timeout + config.socket_timeout
        self._cluster = cluster
        self._make = partial(Listening, source, config.health_check_interval, answer_limit)
        self._at: dict[Node, Listening] = {}
        self._is_refusal_told = False
        self.anywhere: Listening = self._make()
        self.wakes_by: Literal["PUBLISH", "SPUBLISH"] = "SPUBLISH" if cluster else "PUBLISH"

    def of(self, channel: bytes) -> Listening:
        """Return the one that hears what wakes who waits for this channel, as far as is known."""
        if self._cluster is None:
            return self.anywhere
        node = self._cluster.node((self.wakes_by, channel))
        if (found := self._at.get(node)) is None:
            share = Share(self._cluster, node)
            found = self._at.setdefault(node, self._make(share))
        return found

    def join_if_allowed(self, listening: Listening, subscriber: Subscriber, name: bytes) -> Channel:
        """Join, and return the channel; if Redis refuses it, say so once, and do not ask again."""
        try:
            return listening.join(subscriber, [name])[0]
        except StoreMisconfigured as exc:
            if not self._is_refusal_told:
                self._is_refusal_told = True
                log.warning("who waits looks every second, as it cannot listen: %s", exc)
            return Channel(name)

    @property
    def count(self) -> int:
        """How many listen, one on several channels counted for each."""
        return sum(each.count for each in self)

    def renew(self) -> None:
        """Let go of all connections: new ones may lead to other servers, which are wanted."""
        for each in self:
            each.renew()

    def close(self) -> None:
        """Disconnect and rouse all; their threads end soon after. Whoever joins later is heard."""
        for each in self:
            each.close()

    def __iter__(self) -> Iterator[Listening]:
        return iter([self.anywhere, *self._at.values()])
