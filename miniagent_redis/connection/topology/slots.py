"""What a cluster says of itself: which node serves which slot, and the slot of a command."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from .topology import Command, Node

SLOTS: int = REDIS_CLUSTER_HASH_SLOTS
_KEYLESS = frozenset((
    "ACL", "AUTH", "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO", "FLUSHALL",
    "FLUSHDB", "FUNCTION", "HELLO", "INFO", "KEYS", "LATENCY", "PING", "PUBSUB", "ROLE", "SCAN",
    "SCRIPT", "SLOWLOG", "TIME", "WAIT", "WAITAOF",
))  # fmt: skip
_SECOND = frozenset(("MEMORY", "OBJECT"))  # a word of theirs comes before the key
_REMEMBERED = 4096  # keys: each is asked for some six times a turn
_SCRIPTS = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"))


def slot_of(command: Command) -> int | None:
    """Return the slot of a command's first key, or of the channel of PUBLISH; None without one."""
    name = command[0]
    if name in _SCRIPTS:
        place = 3 if int(command[2]) else 0
    else:
        place = 0 if name in _KEYLESS else 2 if name in _SECOND else 1
    if not 0 < place < len(command):
        return None
    key = command[place]
    return _slot(bytes(key) if isinstance(key, (bytes, memoryview)) else str(key).encode("utf-8"))


@lru_cache(_REMEMBERED)
def _slot(key: bytes) -> int:
    return int(key_slot(key))


def name_node(host: str, port: int) -> Node:
    """Return the name of the node at a place."""
    return f"{host}:{port}"


def place_of(node: Node) -> tuple[str, int]:
    """Return the host and the port of a node."""
    host, _, port = node.rpartition(":")
    return host, int(port)


class SlotMap:
    """Which node serves each slot, and the ``masters`` and all ``nodes`` that were named."""

    def __init__(self, told: Any, asked: Node) -> None:
        """Read a reply to CLUSTER SLOTS by the node ``asked``.

        Raises redis.InvalidResponse for what is none.
        """
        self._owners: list[Node] = [""] * SLOTS
        self.masters: tuple[Node, ...] = ()
        self.nodes: tuple[Node, ...] = ()
        masters: dict[Node, None] = {}
        nodes: dict[Node, None] = {}
        try:
            for first, last, *members in told:
                named = [_node(member, asked) for member in members]
                nodes |= dict.fromkeys(filter(None, named))
                if named and named[0]:
                    masters[named[0]] = None
                    self._owners[first : last + 1] = [named[0]] * (last + 1 - first)
        except (TypeError, ValueError, AttributeError) as exc:
            raise redis.InvalidResponse(f"{told!r:.80} says of no slot who serves it") from exc
        self.masters, self.nodes = tuple(masters), tuple(nodes)

    def owner(self, slot: int) -> Node:
        """Return the node of a slot; '' if none serves it."""
        return self._owners[slot]

    def move(self, slot: int, node: Node) -> None:
        """Note that a slot is served by another node now."""
        self._owners[slot] = node
        if node not in self.nodes:
            self.nodes += (node,)


def _node(member: Any, asked: Node) -> Node:
    """Return the name of a node as a reply describes it; '' if it may not be reached.

    One without a host is on the host that was asked. A node that should have a name of a host and
    has none is called '?', and its IP address comes behind, with what else is known of it.
    """
    host, port, *rest = member
    name = (host or b"").decode()
    if name == "?":
        about = rest[1] if len(rest) > 1 else []
        name = dict(zip(about[::2], about[1::2], strict=False)).get(b"ip", b"").decode()
        if not name:
            return ""
    return name_node(name or place_of(asked)[0], port)
