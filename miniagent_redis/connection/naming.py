"""The name of a connection, as CLIENT LIST shows it, for connections that redis-py makes.

By itself redis-py lets a server that forbids CLIENT be of no use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import redis


def naming(name: str) -> Callable[[Any], None]:
    """Return what names a connection that is ready, if its server takes names."""

    def give(connection: Any) -> None:
        with suppress(redis.ResponseError):
            connection.send_command("CLIENT", "SETNAME", name)
            connection.read_response()

    return give


def naming_for_asyncio(name: str) -> Callable[[Any], Awaitable[None]]:
    """Return what gets a connection ready and names it, in place of redis-py's."""

    async def get_ready(connection: Any) -> None:
        await connection.on_connect()
        with suppress(redis.ResponseError):
            await connection.send_command("CLIENT", "SETNAME", name)
            await connection.read_response()

    return get_ready
