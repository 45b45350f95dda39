"""What goes to which node: commands in groups, and again to the one that a node of a cluster names.

MOVED: the slot is with that node from now on. ASK: the slot is on its way there, and this key is
there already. Neither was executed, so sending it on is no repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions as rx

from .faults import Refused, ReplyLost
from .topology import ASKING, Command, Node
from .topology.cluster import Cluster
from .topology.slots import name_node, place_of

_HOPS = 8
"""Redirections that are followed; a slot that moves all the time is left to the next try."""
Send = Callable[[Node, Sequence[Command]], list[Any]]
"""Sends commands to a node and returns their replies, errors of Redis among them."""


def in_groups(
    commands: Sequence[Command],
    node: Callable[[Command], Node],
    send: Callable[[Sequence[Command]], list[Any]],
) -> list[Any]:
    """Send the commands of each node at once; return the replies in the order of the commands."""
    groups: dict[Node, list[int]] = {}
    for place, command in enumerate(commands):
        groups.setdefault(node(command), []).append(place)
    if len(groups) == 1:
        return send(commands)
    replies: list[Any] = [None] * len(commands)
    for places in groups.values():
        answers = send([commands[place] for place in places])
        for place, answer in zip(places, answers, strict=True):
            replies[place] = answer
    return replies


def follow(cluster: Cluster, node: Node, commands: Sequence[Command], send: Send) -> list[Any]:
    """Send commands to the node, and again those for which it names another node.

    Returns the replies, errors of Redis among them. Raises as ``send`` does; that a node is away is
    no outage as long as others answer, as its slots are theirs in a moment.
    """
    replies = _send_to(cluster, node, commands, send)
    if not any(isinstance(reply, rx.AskError) for reply in replies):
        return replies
    askers = dict.fromkeys(range(len(commands)), node)
    for _ in range(_HOPS):
        groups: dict[tuple[Node, bool], list[int]] = {}
        for place, reply in enumerate(replies):
            # MovedError is one too. A host that the node does not know is left to the next look.
            if isinstance(reply, rx.AskError) and reply.host != "?":
                has_moved = isinstance(reply, rx.MovedError)
                node = _note(cluster, askers[place], reply)
                groups.setdefault((node, has_moved), []).append(place)
        if not groups:
            break
        for (node, has_moved), places in groups.items():
            several = [commands[place] for place in places]
            if has_moved:
                answers = _send_to(cluster, node, several, send)
            else:
                asking = [one for each in several for one in (ASKING, each)]
                answers = _send_to(cluster, node, asking, send)[1::2]
            for place, answer in zip(places, answers, strict=True):
                replies[place], askers[place] = answer, node
    return replies


class Share:
    """The slots of a cluster that one ``node`` has, as far as is known."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.node = node
        self._cluster = cluster

    def has(self, channel: bytes) -> bool:
        """Whether the channel is of one of them."""
        return self._cluster.node(("SSUBSCRIBE", channel)) == self.node

    def note(self, error: Exception) -> bool:
        """Whether the node says by this that it lacks a slot; whom it names is remembered."""
        if isinstance(error, rx.MovedError) and error.host != "?":
            _note(self._cluster, self.node, error)
        return isinstance(error, (rx.AskError, rx.ClusterDownError, rx.TryAgainError))


def _note(cluster: Cluster, asked: Node, told: rx.AskError) -> Node:
    """Return which node another one names, and remember it if the slot is there from now on."""
    node = name_node(told.host or place_of(asked)[0], told.port)
    if isinstance(told, rx.MovedError):
        cluster.moved(told.slot_id, node)
    return node


def _send_to(cluster: Cluster, node: Node, commands: Sequence[Command], send: Send) -> list[Any]:
    try:
        return send(node, commands)
    except (Refused, ReplyLost) as exc:
        if exc.is_outage:
            exc.is_outage = not cluster.is_there_without(node)
        raise
