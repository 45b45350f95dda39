"""Builds redis-py clients for an address, with the timeouts that facts taught us.

None of them retries by itself: redis-py would repeat writes whose reply was lost. What may be
repeated is repeated in connection.py.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import embedded
from .config import RedisConfig
from .errors import StoreMisconfigured
from .forking import anew_in_child
from .wire import POOL_WAIT, HeldPool

_REVIVAL = 2.0
"""Seconds for a dead embedded server to be there again; it takes about 0.1."""


class Clients:
    """Makes clients of one configured address; ``open`` first. Starts the embedded server."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._address = config.address
        self._server: embedded.EmbeddedServer | None = None
        self._memory: Any = None
        self._options: dict[str, Any] = {}
        self._start_anew()
        anew_in_child(self._start_anew)

    def _start_anew(self) -> None:
        self._changing = threading.RLock()  # over the server

    def open(self) -> None:
        """Get ready to make clients. Raises StoreUnavailable, StoreMisconfigured, InvalidInput."""
        address = self._address
        if address.kind == "memory":
            self._memory = _memory(address.path)
            return
        if address.kind in ("redis+sentinel", "redis+cluster"):
            raise StoreMisconfigured(
                f"{address} cannot be used with this version",
                cause="it connects to one server: redis, rediss, unix, embedded or memory",
                hint="name the master itself with redis://",
            )
        self._options = {
            "db": address.db,
            "username": address.username,
            "password": address.password,
            "socket_connect_timeout": self._config.socket_connect_timeout,
        }
        if address.kind == "embedded":
            self._server = embedded.attach(Path(address.path) if address.path else None)
            self._options["path"] = self._server.socket_path
        elif address.kind == "unix":
            self._options["path"] = address.path
        else:
            self._options["host"], self._options["port"] = address.nodes[0]
            self._options["socket_keepalive"] = True
        if address.kind == "rediss":
            for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"):
                self._options[name] = getattr(self._config, name)

    def close(self) -> None:
        """Leave the embedded server, if there is one. Closing twice is fine."""
        with self._changing:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def revive(self) -> None:
        """Start the embedded server again if it has died; its address stays the same.

        Does nothing for other servers. Raises StoreUnavailable if it cannot be started.
        """
        with self._changing:
            if (dead := self._server) is None:
                return
            self._server = embedded.attach(dead.data_dir, timeout=_REVIVAL)
        dead.close()

    def make(self, *, socket_timeout: float, max_connections: int = 1) -> redis.Redis:
        """Return a new client with a pool of its own."""
        if self._memory is not None:
            import fakeredis

            return fakeredis.FakeRedis(server=self._memory)
        client: redis.Redis = self._make(
            redis,
            HeldPool,
            socket_timeout=socket_timeout,
            max_connections=max_connections,
            retry=Retry(NoBackoff(), 0),
        )
        return client

    def make_async(self, *, socket_timeout: float, max_connections: int) -> redis.asyncio.Redis:
        """Return a new asyncio client with a pool of its own."""
        if self._memory is not None:
            import fakeredis

            return fakeredis.FakeAsyncRedis(server=self._memory)
        client: redis.asyncio.Redis = self._make(
            redis.asyncio,
            redis.asyncio.BlockingConnectionPool,
            timeout=POOL_WAIT,
            socket_timeout=socket_timeout,
            max_connections=max_connections,
            retry=AsyncRetry(NoBackoff(), 0),
        )
        return client

    def _make(self, library: Any, pool: Any, **options: Any) -> Any:
        """Build a client from ``redis`` or ``redis.asyncio``, whose names are the same."""
        if "path" in self._options:
            kind = library.UnixDomainSocketConnection
        elif self._address.kind == "rediss":
            kind = library.SSLConnection
        else:
            kind = library.Connection
        return library.Redis(
            connection_pool=pool(connection_class=kind, **self._options, **options)
        )


_memories: dict[str, Any] = {}


def _memory(name: str) -> Any:
    """Return the fake server of that name in this process; without a name, a new one."""
    try:
        import fakeredis
    except ImportError as exc:
        raise StoreMisconfigured(
            "memory:// needs the fakeredis package",
            cause=str(exc),
            hint="pip install 'miniagent-redis[memory]'",
        ) from exc
    server = fakeredis.FakeServer()
    server.lock = threading.RLock()  # type: ignore[assignment]
    return _memories.setdefault(name, server) if name else server
