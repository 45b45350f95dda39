"""The pool that redis-py's client is given: its commands take our connections, as ours do.

Its own pools hand a connection on with the unread reply of a call that was interrupted, lose one at
times, and the blocking one may stay locked.
"""

from __future__ import annotations

from typing import Any

import redis

from ..errors import PoolExhausted
from .pool import Pool


class ClientPool(redis.ConnectionPool):
    """Up to ``most`` connections for the commands of others, for which they wait as ours do."""

    def __init__(self, kind: Any, most: int, wait: float, **options: Any) -> None:
        super().__init__(connection_class=kind, max_connections=most, **options)
        self.pool: Pool = Pool(lambda: kind(**self.connection_kwargs), most, wait)

    def get_connection(self, *_: Any, **__: Any) -> Any:
        try:
            return self.pool.take()
        except PoolExhausted as exc:
            raise redis.ConnectionError(str(exc)) from exc  # what users of redis-py expect

    def release(self, connection: Any) -> None:
        self.pool.give(connection, in_order=connection.is_settled)

    def disconnect(self, inuse_connections: bool = True) -> None:
        self.pool.close()


def own_pool(client: redis.Redis | None) -> Pool | None:
    """Return the pool of a client; None for a cluster's, which has those of redis-py."""
    pool = getattr(client, "connection_pool", None)
    return pool.pool if isinstance(pool, ClientPool) else None


def close(client: redis.Redis) -> None:
    """Disconnect all of a client's connections."""
    client.close()
    if (pool := own_pool(client)) is not None:
        pool.close()
