"""Connections to fakeredis, for memory://."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .link import Link


class _InMemory(Link):
    uses_wire = False

    def _wait_longer(self, seconds: float) -> None:
        """Do nothing: what is no socket has no time of its own."""

    def disconnect(self, *args: Any, **kwargs: Any) -> None:
        # Its socket is a generator, which cannot be closed while it runs: in the midst of another
        # thread's command, that is, which finds itself without a socket when it is done.
        with suppress(ValueError):
            super().disconnect(*args, **kwargs)


def memory_link(server: Any) -> tuple[type[Link], dict[str, Any]]:
    """Return the class for connections to a fake server, and what to make them with."""
    import fakeredis

    # Its class and its options have other names in other versions; its client knows them.
    pool = fakeredis.FakeRedis(server=server).connection_pool
    kind = _kinds.get(pool.connection_class)
    if kind is None:
        made = type("MemoryLink", (_InMemory, pool.connection_class), {})
        kind = _kinds.setdefault(pool.connection_class, made)
    return kind, {"server": server}


_kinds: dict[type, type[Link]] = {}
