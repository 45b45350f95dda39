"""Checks of a cluster: do its nodes agree that it works, and is each slot served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..connection.topology import Node
from ..connection.topology.slots import SLOTS
from ..errors import MiniAgentError
from ..store.manager import RedisSessionManager
from .asking import asking
from .check import Check, Verdict

NAMES = ("cluster", "slots")
_ORDER: tuple[Verdict, ...] = ("fail", "warn", "skip", "ok")

Told = Mapping[Node, Mapping[str, Any]]
"""What CLUSTER INFO says on each master, as far as they answer."""


def cluster(store: RedisSessionManager) -> list[Check]:
    """Make the checks of NAMES: each master is asked how it sees the cluster."""
    told: dict[Node, Mapping[str, Any]] = {}
    nodes = store.parts.core.connections.everywhere
    for node in nodes:
        try:
            with asking(store, node) as client:
                told[node] = client.cluster("INFO")
        except MiniAgentError:
            told[node] = {}
    return [state(told), slots(told)]


def state(told: Told) -> Check:
    """Tell whether all masters answer, and see the cluster in order."""
    silent = [node for node, info in told.items() if not info]
    if silent:
        detail = f"{', '.join(silent)} does not answer: the keys there are away"
        fix = "start it, or send CLUSTER FAILOVER TAKEOVER to its replica"
        return Check("cluster", "fail", detail, fix)
    down = [node for node, info in told.items() if info.get("cluster_state") != "ok"]
    if down:
        detail = f"it is down, say {len(down)} of {len(told)} masters: {', '.join(down)}"
        return Check("cluster", "fail", detail, f"redis-cli --cluster check {down[0]}")
    count = max(int(info.get("cluster_known_nodes", 0)) for info in told.values())
    return Check("cluster", "ok", f"{len(told)} masters of {count} nodes, all in order")


def slots(told: Told) -> Check:
    """Tell whether each slot is served by a master that is there."""
    infos = [info for info in told.values() if info]
    if not infos:
        return Check("slots", "skip", "not checked")
    assigned = min(int(info.get("cluster_slots_assigned", 0)) for info in infos)
    served = min(int(info.get("cluster_slots_ok", 0)) for info in infos)
    fix = f"redis-cli --cluster fix {next(node for node in told if told[node])}"
    if assigned < SLOTS:
        detail = f"{SLOTS - assigned:,} of {SLOTS:,} are no master's: nothing can be stored there"
        return Check("slots", "fail", detail, fix)
    if served < SLOTS:
        detail = f"the masters of {SLOTS - served:,} of {SLOTS:,} are silent"
        return Check("slots", "fail", detail, "see CLUSTER NODES for those that fail, start them")
    return Check("slots", "ok", f"all {SLOTS:,} are served")


def worst(
    nodes: Sequence[Node], several: Sequence[Sequence[Check]], *, called: str = "masters"
) -> list[Check]:
    """Return of each check the worst that one of the nodes has found, with that node's name."""
    found: list[Check] = []
    for row in zip(*several, strict=True):
        number, check = min(enumerate(row), key=lambda each: _ORDER.index(each[1].verdict))
        same = sum(other.verdict == check.verdict for other in row)
        whose = nodes[number] if same < len(row) or len(row) == 1 else f"all {len(row)} {called}"
        found.append(Check(check.name, check.verdict, f"{whose}: {check.detail}", check.fix))
    return found
