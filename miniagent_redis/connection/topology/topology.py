"""What the connections ask of a topology: who serves this, and where is it now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import redis
from attrs import frozen

from ...errors import StoreUnavailable

Node = str
"""Names one server of a topology; connections are pooled by it."""
Command = Sequence[Any]
ASKING: Command = ("ASKING",)
"""Goes before a command, to a node of a cluster that has the command's slot only in part."""


@frozen
class Endpoint:
    """Where a server is: ``host`` and ``port``, a socket's ``path``, or fakeredis's ``memory``."""

    host: str = ""
    port: int = 0
    path: str = ""
    memory: Any = None


class NotThere(redis.ConnectionError):
    """The server that is wanted cannot be named now; carries the ``error`` to raise in the end.

    Users of redis-py's clients meet it as one of redis-py's.
    """

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(str(error))
        self.error: StoreUnavailable = error


class Topology(Protocol):
    """Knows the servers of a store. Called by any thread.

    ``open``, ``heal`` and ``endpoint`` may block: as long as one connection and its replies may.
    """

    def open(self) -> None:
        """Get ready, and start what has to be started.

        Raises StoreUnavailable, StoreMisconfigured or InvalidInput.
        """
        ...

    def close(self) -> None:
        """Let go of what ``open`` took. Closing twice is fine."""
        ...

    def node(self, command: Command) -> Node:
        """Return which server serves a command: with slots, by its first key."""
        ...

    def anywhere(self) -> Node:
        """Return a server for what any of them serves, as a listener of channels."""
        ...

    def everywhere(self) -> Sequence[Node]:
        """Return the servers that have all keys between them."""
        ...

    def endpoint(self, node: Node) -> Endpoint:
        """Return where that server is. Asked at each connect, so that one that moved is found.

        Raises NotThere if nobody knows now, StoreMisconfigured if nobody ever will.
        """
        ...

    def heal(self, node: Node) -> None:
        """Look again after a refusal: the server may have died, moved or changed its role.

        Raises StoreUnavailable if that is of no avail.
        """
        ...
