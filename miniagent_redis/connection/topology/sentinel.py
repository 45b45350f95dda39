"""The master of a service, as the Sentinels name it: they are asked at each connect.

Leaves out whether that server is one: its own ROLE says so, on each connection (``master.py``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...config.redis import RedisConfig
from ...errors import StoreUnavailable
from .asking_sentinels import Named, Sentinels
from .topology import Command, Endpoint, Node, NotThere

_MASTER: Node = ""
_FORGOTTEN = 10.0
"""Seconds after which a failover is none of which no Sentinel has known since."""


class SentinelMaster:
    """The topology of a service that Sentinels watch: one server, which may be another any time.

    Of what the Sentinels say the latest counts: each failover has a number, the epoch, which only
    grows. One that was cut off still names the old master, with the epoch of then.
    """

    def __init__(self, config: RedisConfig) -> None:
        self._sentinels = Sentinels(config)
        self._address = config.address
        self._latest = (-1, 0.0)  # epoch, and when it was heard of last

    def open(self) -> None: ...

    def close(self) -> None: ...

    def node(self, command: Command) -> Node:
        return _MASTER

    def anywhere(self) -> Node:
        return _MASTER

    def everywhere(self) -> Sequence[Node]:
        return (_MASTER,)

    def endpoint(self, node: Node) -> Endpoint:
        """Ask the Sentinels. Takes longer when one is silent, which is left alone after that."""
        named = self._sentinels.who_is_master()
        latest = max(named, key=lambda one: (one.epoch, one.is_leaving))
        if latest.is_leaving:
            raise NotThere(self._under_way(latest))
        epoch, heard = self._latest
        is_less = latest.epoch < epoch
        is_proof = len(named) >= self._sentinels.majority and time.monotonic() > heard + _FORGOTTEN
        if is_less and not is_proof:
            raise NotThere(self._out_of_date(named))
        self._latest = latest.epoch, time.monotonic()
        return Endpoint(latest.host, latest.port)

    def _under_way(self, latest: Named) -> StoreUnavailable:
        return StoreUnavailable(
            f"a failover of {self._address.service!r} is under way",
            cause=f"{latest.sentinel} does not say yet which server becomes the master",
            hint="this passes by itself",
        )

    def _out_of_date(self, named: list[Named]) -> StoreUnavailable:
        """Build the error for what is less than was known already."""
        few = ", ".join(one.sentinel for one in named)
        return StoreUnavailable(
            f"the Sentinels that answer name an old master of {self._address.service!r}",
            cause=f"there was a failover since, of which nobody at {few} knows",
            hint="bring the other Sentinels back, or wait until these have heard of it",
        )

    def heal(self, node: Node) -> None:
        """Do nothing: the next connection asks anew."""
