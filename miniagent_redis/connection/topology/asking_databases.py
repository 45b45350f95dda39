"""Several databases, and whether each of them can be used: it is asked to do what writes need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ...config.redis import RedisConfig
from ...errors import MiniAgentError, StoreMisconfigured
from ..faults import Faults, reason
from ..link import LOST, Link
from ..link_kinds import TcpLink, TlsLink
from ..options import connection_options
from ..refusals import is_of_another
from ..resp import packer
from ..versions import PROBE_SCRIPT
from .topology import Endpoint

Place = tuple[str, int]
_PAUSE = 0.2
"""Seconds between tries: what is over by then is no reason to leave a database."""
_PATIENCE = 0.5
"""Seconds at most for a database to accept a connection, and for each of its answers."""


class Databases:
    """Those of an address. For one thread at a time; it keeps a connection to each."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._faults = Faults(config)
        self._links: dict[Place, Link] = {}
        self.refused: dict[Place, StoreMisconfigured] = {}
        """Of those that cannot be used: what is wrong, if that never passes."""

    def __iter__(self) -> Iterator[Place]:
        """Yield them, the most wanted first."""
        return iter(self._config.address.nodes)

    def ask(self, place: Place, tries: int) -> str:
        """Return why a database cannot be used; "" if it can, in one of so many tries.

        One that is silent takes half a second for each.
        """
        cause = self._try(place)
        for _ in range(tries - 1):
            if not cause or place in self.refused:
                break
            time.sleep(_PAUSE)
            cause = self._try(place)
        return cause

    def close(self) -> None:
        """Disconnect from all of them."""
        for link in self._links.values():
            link.disconnect()

    def _try(self, place: Place) -> str:
        self.refused.pop(place, None)
        link = self._links.setdefault(place, self._link(place))
        try:
            link.connect()
            link.send_command(*PROBE_SCRIPT, check_health=False)
            link.read_response()
        except (*LOST, MiniAgentError) as exc:
            is_answer = isinstance(exc, redis.ResponseError) and link.is_settled
            # Any other answer is one that each command of ours tells better.
            if is_answer and not is_of_another(exc):
                return ""
            link.disconnect()
            told = self._faults.before_sending(exc)
            if isinstance(told, StoreMisconfigured):
                self.refused[place] = told
            return told.cause if isinstance(told, StoreMisconfigured) else reason(exc)
        return ""

    def _link(self, place: Place) -> Link:
        config = self._config
        options: dict[str, Any] = connection_options(config)
        options["protocol"] = 2
        options["socket_connect_timeout"] = min(_PATIENCE, config.socket_connect_timeout)
        kind = TlsLink if config.address.is_tls else TcpLink
        return kind(
            locate=lambda: Endpoint(*place),
            retry=Retry(NoBackoff(), 0),
            command_packer=packer,
            socket_timeout=min(_PATIENCE, config.socket_timeout),
            **options,
        )


def shown(place: Place) -> str:
    """Return a host and its port as urls have them."""
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
