"""How the doctor asks the server of a store, and whether that is still there after a fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..connection.refusals import refusal_behind
from ..connection.topology import Node
from ..errors import MiniAgentError, StoreUnavailable
from ..store.manager import RedisSessionManager


@contextmanager
def asking(store: RedisSessionManager, node: Node | None = None) -> Iterator[Any]:
    """Yield a redis-py client of one server, and turn its faults into ours.

    That is the one named, or any. A server may refuse the PING with which a store is opened, and
    answer questions all the same.
    """
    connections = store.parts.core.connections
    is_shared = connections.is_open and not is_cluster(store)
    client = connections.client if is_shared else connections.connector.client_of(node)
    try:
        with connections.translating():
            yield client
    finally:
        if not is_shared:
            client.close()
            client.connection_pool.disconnect()


def is_cluster(store: RedisSessionManager) -> bool:
    """Whether there are several servers to be asked."""
    return store.config.address.kind == "redis+cluster"


def is_answered(store: RedisSessionManager, error: MiniAgentError) -> bool:
    """Whether the server is still there after a fault, so that other checks can be made."""
    if refusal_behind(error) is not None or not isinstance(error, StoreUnavailable):
        return True
    return answers_ping(store)


def answers_ping(store: RedisSessionManager) -> bool:
    """Whether the server answers, though it may do less than is demanded of it."""
    try:
        with asking(store) as client:
            client.ping()
    except MiniAgentError as exc:
        return refusal_behind(exc) is not None
    return True
