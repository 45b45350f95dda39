"""What the connections ask of a topology: who serves this, and where is it now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from attrs import frozen

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


class Topology(Protocol):
    """Knows the servers of a store. Called by any thread; only ``open`` and ``heal`` may block."""

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

    def endpoint(self, node: Node) -> Endpoint:
        """Return where that server is. Asked at each connect, so that one that moved is found."""
        ...

    def heal(self, node: Node) -> None:
        """Look again after a refusal: the server may have died, moved or changed its role.

        Raises StoreUnavailable if that is of no avail.
        """
        ...
