"""One server: on a host, behind a socket, our own (embedded), or fakeredis in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...config.address import Address
from ...embedded.attach import EmbeddedServer, attach
from ...errors import StoreMisconfigured
from ...runtime.forking import reset_after_fork
from ...runtime.installing import pip_install
from .topology import Command, Endpoint, Node

_ONE: Node = ""
_REVIVAL = 2.0
"""Seconds for a dead embedded server to be there again; it takes about 0.1."""


class OneServer:
    """The topology of one address. It starts the embedded server, and again when that has died."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._endpoint = Endpoint()
        self._server: EmbeddedServer | None = None
        self._start_anew()

    @reset_after_fork
    def _start_anew(self) -> None:
        self._changing = threading.RLock()  # over the server

    def open(self) -> None:
        address = self._address
        if address.kind == "memory":
            self._endpoint = Endpoint(memory=_memory(address.path))
        elif address.kind == "embedded":
            self._server = attach(Path(address.path) if address.path else None)
            self._endpoint = Endpoint(path=str(self._server.socket_path))
        elif address.kind == "unix":
            self._endpoint = Endpoint(path=address.path)
        else:
            self._endpoint = Endpoint(*address.nodes[0])

    def close(self) -> None:
        with self._changing:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def node(self, command: Command) -> Node:
        return _ONE

    def anywhere(self) -> Node:
        return _ONE

    def everywhere(self) -> Sequence[Node]:
        return (_ONE,)

    def endpoint(self, node: Node) -> Endpoint:
        return self._endpoint

    def heal(self, node: Node) -> None:
        """Start the embedded server again if it has died; its address stays the same."""
        with self._changing:
            if (dead := self._server) is None:
                return
            self._server = attach(dead.data_dir, timeout=_REVIVAL)
        dead.close()


_memories: dict[str, Any] = {}


def _memory(name: str) -> Any:
    """Return the fake server of that name in this process; without a name, a new one."""
    try:
        import fakeredis
    except ImportError as exc:
        raise StoreMisconfigured(
            "memory:// needs the fakeredis package",
            cause=str(exc),
            hint=pip_install("memory"),
        ) from exc
    server = fakeredis.FakeServer()
    server.lock = threading.RLock()  # type: ignore[assignment]
    return _memories.setdefault(name, server) if name else server
