"""A real cluster for tests: masters and replicas on ports of the loopback address.

It knows nothing of this package. A test may kill a node, and move slots to another one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import pytest
import redis
from redis.crc import key_slot

from tests.support.servers import TOPOLOGY, RedisServer
from tests.support.waiting import LIMIT, until

SLOTS = 16384
ON_CLUSTER = TOPOLOGY == "cluster"
"""Whether the tests of stores run on one."""
one_node: pytest.MarkDecorator = pytest.mark.skipif(
    ON_CLUSTER, reason="it looks at what each node of a cluster does by itself"
)
_SETTINGS = ("--repl-diskless-sync-delay", "0", "--cluster-enabled", "yes")


class Node:
    """One server of a cluster, and a client that sees only it."""

    def __init__(
        self, node_timeout: float, *args: str, tls: Mapping[str, str] | None = None
    ) -> None:
        milliseconds = str(int(node_timeout * 1000))
        bus = ("--cluster-port", str(_free_port()))
        self.server = RedisServer(
            *_SETTINGS, "--cluster-node-timeout", milliseconds, *bus, *args, tcp=True, tls=tls
        )
        self.name = f"127.0.0.1:{self.server.port}"
        self.client: redis.Redis = self.server.client(socket_timeout=LIMIT)
        self._bus = bus[1]
        self.id = ""

    def start(self) -> None:
        self.server.start()
        self.id = str(self.run("CLUSTER", "MYID"))

    def meet(self, other: Node) -> None:
        self.run("CLUSTER", "MEET", "127.0.0.1", other.server.port, other._bus)

    def run(self, *command: Any) -> Any:
        """Run a command here and nowhere else; return its reply, text as str."""
        reply = self.client.connection_pool  # a raw reply: redis-py would parse it
        link = reply.get_connection()
        try:
            link.send_command(*command)
            return _as_text(link.read_response())
        finally:
            reply.release(link)

    def run_each(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        """Run commands here in one round trip; return their replies, or raise the first error."""
        several = list(commands)
        pool = self.client.connection_pool
        link = pool.get_connection()
        replies = []
        try:
            link.send_packed_command(link.pack_commands(several))
            for _ in several:
                try:
                    replies.append(_as_text(link.read_response()))
                except redis.ResponseError as exc:
                    replies.append(exc)
        finally:
            pool.release(link)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def info(self) -> dict[str, str]:
        """Return what CLUSTER INFO says."""
        lines = str(self.run("CLUSTER", "INFO")).split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def slots(self, of: Node | None = None) -> list[int]:
        """Return the slots that it, or another one, serves, as it sees it."""
        found: list[int] = []
        for first, last, master, *_ in self.run("CLUSTER", "SLOTS"):
            if master[2] == (of or self).id:
                found.extend(range(first, last + 1))
        return found


class ClusterServers:
    """So many masters, with one replica each if ``replicas`` is set, ready on entry.

    With ``tls`` all of them speak it, to each other too, and nothing else.
    """

    def __init__(
        self,
        masters: int = 3,
        *args: str,
        replicas: bool = True,
        node_timeout: float = 1.0,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        count = masters if replicas else 0
        self._scheme = "redis" if tls is None else "rediss"
        self.masters = [Node(node_timeout, *args, tls=tls) for _ in range(masters)]
        self.replicas = [Node(node_timeout, *args, tls=tls) for _ in range(count)]

    @property
    def nodes(self) -> list[Node]:
        return [*self.masters, *self.replicas]

    @property
    def url(self) -> str:
        return f"{self._scheme}+cluster://" + ",".join(node.name for node in self.masters)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        try:
            for node in self.nodes:
                self._stack.callback(node.server.close)
                node.start()
            self._form()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _form(self) -> None:
        count = len(self.masters)
        for number, node in enumerate(self.masters):
            first, after = SLOTS * number // count, SLOTS * (number + 1) // count
            node.run("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
            node.run("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        # Each with each: gossip alone takes some seconds.
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.meet(other)
        for replica, master in zip(self.replicas, self.masters, strict=False):
            until(partial(_knows, replica, master))
            replica.run("CLUSTER", "REPLICATE", master.id)
        until(self.is_whole)

    def is_whole(self) -> bool:
        """Whether each node sees all slots served, and each replica has its master's data."""
        told = [node.client.info("replication") for node in self.nodes]
        followers = [each for each in told if each["role"] == "slave"]
        return (
            len(followers) == len(self.replicas)
            and all(each["master_link_status"] == "up" for each in followers)
            and all(node.info()["cluster_state"] == "ok" for node in self.nodes)
        )

    def owner(self, key: str | int) -> Node:
        """Return the master that serves a key, or a slot."""
        slot = key if isinstance(key, int) else int(key_slot(key.encode()))
        return next(node for node in self.serving() if slot in node.slots())

    def serving(self) -> Iterator[Node]:
        """Yield the nodes that run and are masters."""
        for node in self.nodes:
            if node.server.is_running and node.client.info("replication")["role"] == "master":
                yield node

    def replace_by(self, replica: Node) -> None:
        """Kill a replica's master once it has everything; that comes back when it is a replica."""
        port = replica.client.info("replication")["master_port"]
        master = next(node for node in self.serving() if node.server.port == port)
        master.client.client_pause(int(LIMIT * 1000), all=False)
        until(lambda: _offset(replica, "slave") == _offset(master, "master"))
        master.server.kill()
        until(lambda: replica.client.info("replication")["role"] == "master")
        running = [node for node in self.nodes if node is not master]
        until(lambda: all(node.info()["cluster_state"] == "ok" for node in running))
        master.server.start()
        until(self.is_whole)

    def replica_of(self, master: Node) -> Node:
        """Return the node that follows a master."""
        port = master.server.port
        return next(
            node
            for node in self.nodes
            if node is not master and node.client.info("replication").get("master_port") == port
        )

    def cut_off(self, master: Node) -> None:
        """Have nobody hear of a master until its replica takes over; then it wakes up as one."""
        replica = self.replica_of(master)
        master.server.pause()
        try:
            until(lambda: replica.client.info("replication")["role"] == "master")
        finally:
            master.server.resume()
        until(self.is_whole)

    def flush(self) -> None:
        for node in self.serving():
            node.client.flushdb()

    def move(self, slot: int, source: Node, target: Node) -> int:
        """Move a slot as an administrator does; return how many keys went with it."""
        self.begin_move(slot, source, target)
        count = self.move_keys(slot, source, target)
        self.end_move(slot, source, target)
        return count

    def move_together(self, slots: Sequence[int], source: Node, target: Node) -> int:
        """Move several slots at once; return how many keys went with them."""
        target.run_each(("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id) for slot in slots)
        source.run_each(("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id) for slot in slots)
        count = 0
        migrate = ("MIGRATE", "127.0.0.1", target.server.port, "", 0, 5000, "KEYS")
        left = list(slots)
        while left:
            found = source.run_each(("CLUSTER", "GETKEYSINSLOT", slot, 100) for slot in left)
            source.run_each((*migrate, *keys) for keys in found if keys)
            count += sum(map(len, found))
            left = [slot for slot, keys in zip(left, found, strict=True) if keys]
        self.assign(slots, source, target)
        self.agree(slots, target)
        return count

    def begin_move(self, slot: int, source: Node, target: Node) -> None:
        target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def move_keys(self, slot: int, source: Node, target: Node) -> int:
        count = 0
        while keys := source.run("CLUSTER", "GETKEYSINSLOT", slot, 100):
            count += len(keys)
            host, port = "127.0.0.1", target.server.port
            source.run("MIGRATE", host, port, "", 0, 5000, "KEYS", *keys)
        return count

    def end_move(self, slot: int, source: Node, target: Node) -> None:
        self.assign([slot], source, target)
        self.agree([slot], target)

    def assign(self, slots: Sequence[int], source: Node, target: Node) -> None:
        """Tell the masters whose slots these are now, the new one first."""
        others = [node for node in self.serving() if node is not target and node is not source]
        for node in (target, source, *others):
            node.run_each(("CLUSTER", "SETSLOT", slot, "NODE", target.id) for slot in slots)

    def agree(self, slots: Sequence[int], owner: Node) -> None:
        """Block until all nodes know: one that knows of a later move first would undo this.

        Where two moves had the same epoch, the old owner may have claimed its slots again before it
        gave them up: then each takes the other for the owner, and both have to be told once more.
        """
        wanted = set(slots)
        running = [node for node in self.nodes if node.server.is_running]

        def is_known() -> bool:
            return all(wanted <= set(node.slots(owner)) for node in running)

        try:
            until(is_known, LIMIT / 6)
        except AssertionError:
            for node in (owner, *(node for node in self.serving() if node is not owner)):
                node.run_each(("CLUSTER", "SETSLOT", slot, "NODE", owner.id) for slot in slots)
            until(is_known)


def _offset(node: Node, role: str) -> int:
    info: Any = node.client.info("replication")
    return int(info[f"{role}_repl_offset"])


def _knows(node: Node, other: Node) -> bool:
    return other.id in str(node.run("CLUSTER", "NODES"))


def _as_text(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_as_text(one) for one in reply]
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
