"""Checks of how the server answers: does it, how fast, in which protocol, and what of itself."""

from __future__ import annotations

import time
from typing import Any

from ..connection.topology import Node
from ..connection.topology.slots import place_of
from ..errors import StoreMisconfigured
from ..store.manager import RedisSessionManager
from . import server
from .asking import asking, is_cluster
from .check import Check
from .cluster import worst
from .shell import setting

_SLOW_MS = 100.0
_PINGS = 50
_PING_LIMIT = 1.0  # seconds for all of them
_SKEW = 5.0  # seconds


def reachable(store: RedisSessionManager) -> Check:
    """Tell whether it answers and lets us in. Raises MiniAgentError otherwise."""
    store.connect()
    with asking(store) as client:
        client.ping()
    return Check("reachable", "ok", f"{store.config.address} answers")


def protocol(store: RedisSessionManager) -> Check:
    """Tell which protocol is spoken; all that the library does is done in either."""
    with asking(store) as client:
        client.ping()
        pool = client.connection_pool
        connection = pool.get_connection()
        spoken = connection.protocol
        pool.release(connection)
    if str(spoken) != str(store.config.protocol):
        return Check("protocol", "ok", "RESP2: the server, or a proxy before it, knows no HELLO")
    return Check("protocol", "ok", f"RESP{spoken}")


def round_trip(store: RedisSessionManager) -> Check:
    """Tell how long it takes to answer."""
    took: list[float] = []
    with asking(store) as client:
        while len(took) < _PINGS and sum(took) < _PING_LIMIT * 1000:
            started = time.perf_counter()
            client.ping()
            took.append((time.perf_counter() - started) * 1000)
    took.sort()
    middle, late = took[len(took) // 2], took[int(len(took) * 0.99)]
    detail = f"p50 {middle:.2f} ms, p99 {late:.2f} ms"
    if late < _SLOW_MS:
        return Check("round trip", "ok", detail)
    fix = "see SLOWLOG GET and LATENCY DOCTOR, or move the server nearer"
    return Check("round trip", "warn", detail, fix)


ABOUT = (
    "version", "role", "persistence", "eviction", "memory", "settings", "scripts",
)  # fmt: skip


def about(store: RedisSessionManager) -> list[Check]:
    """Make the checks of ABOUT, by what the server tells of itself; in a cluster, each master."""
    if not is_cluster(store):
        return _about(store, None)
    nodes = store.parts.core.connections.everywhere
    return worst(nodes, [_about(store, node) for node in nodes])


def _about(store: RedisSessionManager, node: Node | None) -> list[Check]:
    with asking(store, node) as client:
        info: dict[str, Any] = client.info()
        latencies: dict[str, Any] = client.info("latencystats")
    config = _config(store, node, "appendfsync", "save")
    at = None if node is None else place_of(node)

    def cure(name: str, value: str) -> str:
        return setting(store.config, info, name, value, as_admin=config is None, at=at)

    changeable = [
        server.persistence(info, config, cure),
        server.eviction(info, cure),
        server.memory(info, cure),
    ]
    return [
        server.version(info),
        server.role(info),
        *changeable,
        server.settings(info, changeable),
        server.scripts(latencies),
    ]


def _config(store: RedisSessionManager, node: Node | None, *names: str) -> dict[str, str] | None:
    """Return settings of the server, or None where CONFIG is forbidden."""
    try:
        with asking(store, node) as client:
            return dict(client.config_get(*names))
    except StoreMisconfigured:
        return None


def clock(store: RedisSessionManager) -> Check:
    """Tell how far the server's clock and ours are apart; deadlines are by the server's."""
    if not is_cluster(store):
        return _clock(store, None)
    nodes = store.parts.core.connections.everywhere
    return worst(nodes, [[_clock(store, node)] for node in nodes])[0]


def _clock(store: RedisSessionManager, node: Node | None) -> Check:
    with asking(store, node) as client:
        before = store.clock.time()
        seconds, micros = client.time()
        ours = (before + store.clock.time()) / 2
    skew = seconds + micros / 1e6 - ours
    if abs(skew) <= _SKEW:
        return Check("clock", "ok", f"{abs(skew):.1f} s apart")
    which = "ahead of" if skew > 0 else "behind"
    fix = "switch time synchronization on (timedatectl set-ntp true), here and there"
    return Check("clock", "warn", f"the server is {abs(skew):.1f} s {which} this machine", fix)
