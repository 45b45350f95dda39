"""Where commands go is asked of the topology: which server for which key, and where it is now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.connection.connections import Connections
from miniagent_redis.connection.topology import Command, Endpoint, Node
from miniagent_redis.store.scripts import Scripts
from tests.support.servers import RedisServer


class ByLetter:
    """Two servers: one for keys that begin with a, one for the others."""

    def __init__(self, *servers: RedisServer) -> None:
        self.places = {name: str(server.socket) for name, server in zip("ab", servers, strict=True)}
        self.healed: list[Node] = []

    def open(self) -> None: ...

    def close(self) -> None: ...

    def node(self, command: Command) -> Node:
        return "a" if len(command) > 1 and str(command[1]).startswith("a") else "b"

    def anywhere(self) -> Node:
        return "b"

    def everywhere(self) -> Sequence[Node]:
        return ("a", "b")

    def endpoint(self, node: Node) -> Endpoint:
        return Endpoint(path=self.places[node])

    def heal(self, node: Node) -> None:
        self.healed.append(node)


@pytest.fixture
def servers() -> Iterator[tuple[RedisServer, RedisServer]]:
    with RedisServer() as one, RedisServer() as other:
        yield one, other


def test_each_command_goes_to_the_server_of_its_key(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    topology = ByLetter(*servers)
    connections = Connections(RedisConfig(), topology=topology)
    connections.open()
    names = ["a1", "b1", "a2", "a3", "b2"]
    assert connections.call_many([("SET", name, name) for name in names]) == [b"OK"] * 5
    assert connections.call_many([("GET", name) for name in names]) == [n.encode() for n in names]
    assert sorted(servers[0].client().keys()) == [b"a1", b"a2", b"a3"]
    assert sorted(servers[1].client().keys()) == [b"b1", b"b2"]
    assert connections.figures().commands.made == 2
    connections.close()


def test_the_time_is_that_of_the_server_that_has_the_key(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    connections = Connections(RedisConfig(), topology=ByLetter(*servers))
    assert Scripts(connections)._ask_time("a") > 0
    asked = ["cmdstat_time" in server.client().info("commandstats") for server in servers]
    assert asked == [True, False]
    connections.close()


def test_a_server_that_moved_is_found_at_the_next_connect(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    topology = ByLetter(*servers)
    connections = Connections(RedisConfig(), topology=topology)
    assert connections.call("SET", "b", "here") == b"OK"
    client: Any = connections.client
    assert client.get("b") == b"here"
    topology.places["b"] = topology.places["a"]
    servers[1].kill()
    assert connections.call("GET", "b") is None
    assert client.get("b") is None
    assert connections.figures().lost_replies == 0
    connections.close()


def test_a_replica_that_took_over_is_found_again(
    servers: tuple[RedisServer, RedisServer],
) -> None:
    topology = ByLetter(*servers)
    connections = Connections(RedisConfig(), topology=topology)
    assert connections.call("SET", "b", "1") == b"OK"
    servers[1].client().execute_command("REPLICAOF", "127.0.0.1", "1")

    def heal(node: Node) -> None:
        topology.places["b"] = topology.places["a"]

    topology.heal = heal  # type: ignore[method-assign]
    assert connections.call("SET", "b", "2") == b"OK"
    assert servers[0].client().get("b") == b"2"
    connections.close()
