"""The pool of the users' asyncio client: its connections follow the server that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import Any

import redis.asyncio

from .blocking import patient
from .master import FRESH, Place, Watch
from .topology import Endpoint


class AsyncPool(redis.asyncio.BlockingConnectionPool):
    """Drops all that are idle when one was told that a new one may lead to another server."""

    async def ensure_connection(self, connection: Any) -> None:
        await super().ensure_connection(connection)
        if hasattr(connection, "is_wanted") and not await connection.is_wanted():
            await self._drop(connection)
            await super().ensure_connection(connection)

    async def release(self, connection: Any) -> None:
        if connection.is_outdated:
            await self._drop(connection)
        await super().release(connection)

    async def _drop(self, connection: Any) -> None:
        await connection.disconnect()
        connection.is_outdated = False
        await self.disconnect(inuse_connections=False)


class _Located:
    """What is added to connections for asyncio: they ask where to connect, each time."""

    host: str  # redis-py sets these
    port: int
    is_connected: bool
    is_outdated: bool

    def __init__(self, *, locate: Callable[[], Endpoint], **options: Any) -> None:
        super().__init__(**options)
        self._locate = locate

    @property
    def _place(self) -> Place:
        return self.host, self.port

    async def connect(self) -> None:
        if self.is_connected:
            return
        endpoint = await asyncio.to_thread(self._locate)
        self.host, self.port = endpoint.host, endpoint.port
        await super().connect()  # type: ignore[misc]

    async def is_wanted(self) -> bool:
        """Whether it leads to where one would connect now."""
        return self._locate() == Endpoint(*self._place)


class _ToMaster(_Located):
    """What is added besides: they ask whether the server is the master."""

    _said_so = 0.0  # when the server was a master last, as of time.monotonic()

    def __init__(self, *, watch: Watch, **options: Any) -> None:
        super().__init__(**options)
        self._watch = watch

    async def connect(self) -> None:
        if self.is_connected:
            return
        await super().connect()
        try:
            await asyncio.to_thread(self._watch.meet, self._place, await self._role())
        except BaseException:
            await self.disconnect()  # type: ignore[attr-defined]
            raise
        self._said_so = monotonic()

    async def is_wanted(self) -> bool:
        """Ask the server, unless it has said so just now."""
        if monotonic() - self._said_so < FRESH:
            return True
        try:
            is_so = self._watch.is_same(self._place, await self._role())
        except (redis.RedisError, OSError):
            return False
        if is_so:
            self._said_so = monotonic()
        return is_so

    async def _role(self) -> Any:
        await self.send_command("ROLE")  # type: ignore[attr-defined]
        return await self.read_response()  # type: ignore[attr-defined]


@cache
def to_master(kind: Any) -> Any:
    """Return one of redis-py's kinds of connection for asyncio, with patience, to the master."""
    return type(f"Master{kind.__name__}", (_ToMaster, patient(kind)), {})


@cache
def to_active(kind: Any) -> Any:
    """Return one with patience, to that of several databases which is used."""
    return type(f"Active{kind.__name__}", (_Located, patient(kind)), {})
