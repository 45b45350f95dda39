"""How the masters of a cluster share what a store has them do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from tests.support.cluster import ClusterServers, Node

_OF_THE_CLUSTER = ("cluster", "config", "info", "ping", "client", "command", "replconf", "psync")
"""Beginnings of what is not sent for sessions: by the tests, and by other nodes."""


@frozen
class Work:
    """What a master did: so many ``commands``, those inside scripts too, in so many ``seconds``."""

    commands: int
    seconds: float


class Shares:
    """What each master does from now on."""

    def __init__(self, cluster: ClusterServers) -> None:
        self._masters: Sequence[Node] = cluster.masters
        self._before = [_seconds(node) for node in self._masters]
        for node in self._masters:
            node.client.config_resetstat()

    def take(self) -> list[Work]:
        return [
            Work(_commands(node.client.info("commandstats")), _seconds(node) - before)
            for node, before in zip(self._masters, self._before, strict=True)
        ]


def uneven(work: Sequence[Work]) -> float:
    """Return by how much of an even share the master is off that is the farthest from it."""
    even = sum(one.commands for one in work) / len(work)
    return max(abs(one.commands - even) for one in work) / even


def _commands(stats: Mapping[str, Any]) -> int:
    names = {name: name.removeprefix("cmdstat_") for name in stats}
    return sum(
        stats[name]["calls"]
        for name, command in names.items()
        if not command.startswith(_OF_THE_CLUSTER)
    )


def _seconds(node: Node) -> float:
    told: Any = node.client.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])
