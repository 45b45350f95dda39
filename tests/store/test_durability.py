"""Durability by name: what a server does, and what is demanded of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    InvalidInput,
    Message,
    NotDurable,
    RedisConfig,
    RedisSessionManager,
    SessionAgent,
    SessionBusy,
    SessionManager,
    SessionNotFound,
    StoreMisconfigured,
    StoreUnavailable,
)
from miniagent_redis.acl import acl_rule
from miniagent_redis.config.durability import Durability
from miniagent_redis.doctor import diagnose
from tests.support.cluster import ClusterServers, Node
from tests.support.servers import NOTHING_KEPT, RedisServer
from tests.support.waiting import until

LEVELS: dict[Durability, tuple[str, ...]] = {
    "memory": NOTHING_KEPT,
    "everysec": ("--appendonly", "yes", "--appendfsync", "everysec"),
    "always": ("--appendonly", "yes", "--appendfsync", "always"),
}
NAMES = tuple(LEVELS)
Servers = dict[Durability, RedisServer]
SYNCED_BY_THE_SYSTEM = ("--appendonly", "yes", "--appendfsync", "no")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Yield a server of each level."""
    servers: Servers = {name: RedisServer(*args) for name, args in LEVELS.items()}
    for server in servers.values():
        server.start()
    yield servers
    for server in servers.values():
        server.close()


# --- what is demanded of a server that is alone --------------------------------------------


@pytest.mark.parametrize("found", NAMES)
@pytest.mark.parametrize("protocol", [2, 3])
def test_a_server_has_a_name_for_how_durable_it_is(
    servers: Servers, found: Durability, protocol: int
) -> None:
    with RedisSessionManager(RedisConfig(url=servers[found].url, protocol=protocol)) as store:
        assert store.health().durability == found


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("demanded", NAMES)
@pytest.mark.parametrize("found", NAMES)
def test_a_server_that_does_less_than_is_demanded_is_refused_at_connect(
    servers: Servers, demanded: Durability, found: Durability, protocol: int
) -> None:
    config = RedisConfig(url=servers[found].url, protocol=protocol, durability=demanded)
    store = RedisSessionManager(config)
    if NAMES.index(found) >= NAMES.index(demanded):
        with store:
            store.create_session("s")
            assert store.delete_session("s")
        return
    with pytest.raises(StoreMisconfigured, match=f"durability='{demanded}' is demanded") as caught:
        store.connect()
    assert caught.value.cause.startswith(f"it is {found}: ")
    assert f"appendfsync {demanded}" in caught.value.hint


def test_what_the_system_syncs_when_it_likes_counts_as_memory() -> None:
    with RedisServer(*SYNCED_BY_THE_SYSTEM) as server:
        with RedisSessionManager(RedisConfig(url=server.url)) as store:
            assert store.health().durability == "memory"
        config = RedisConfig(url=server.url, durability="everysec")
        with pytest.raises(StoreMisconfigured, match="does less"):
            RedisSessionManager(config).connect()


def test_a_server_that_came_back_with_less_is_refused(servers: Servers) -> None:
    server = servers["always"]
    with RedisSessionManager(RedisConfig(url=server.url, durability="always")) as store:
        store.create_session("s")
        server.client().config_set("appendfsync", "everysec")
        server.client().client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(StoreMisconfigured, match="does less"):
            store.get_session("s")
        server.client().config_set("appendfsync", "always")
        assert store.get_session("s") is not None


@pytest.mark.parametrize("hidden", ["-config", "-config -info"])
def test_a_demand_that_cannot_be_checked_is_refused_and_says_so(
    servers: Servers, hidden: str
) -> None:
    server = servers["always"]
    server.client().execute_command(
        "ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "&*", "+@all", *hidden.split()
    )
    url = server.url.replace("unix://", "unix://app:pw@")
    with RedisSessionManager(RedisConfig(url=url)) as store:
        assert store.health().durability == store.health().durability == "unknown"
    with pytest.raises(StoreMisconfigured, match="does not tell what it does") as caught:
        RedisSessionManager(RedisConfig(url=url, durability="everysec")).connect()
    assert "CONFIG is forbidden" in caught.value.cause
    assert "+config|get" in caught.value.hint


@pytest.mark.parametrize("demanded", ["everysec", "always"])
def test_the_rule_of_a_user_has_what_the_demand_needs(
    servers: Servers, demanded: Durability
) -> None:
    server = servers["always"]
    for rule, is_enough in ((acl_rule(), False), (acl_rule(durability=demanded), True)):
        server.client().execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rule)
        url = server.url.replace("unix://", "unix://app:pw@")
        store = RedisSessionManager(RedisConfig(url=url, durability=demanded))
        if is_enough:
            with store:
                assert {check.name: check.verdict for check in diagnose(store)}["rights"] == "ok"
        else:
            with pytest.raises(StoreMisconfigured, match="does not tell"):
                store.connect()
    with pytest.raises(InvalidInput, match="is none of memory, everysec"):
        acl_rule(durability="fsync")  # type: ignore[arg-type]


def test_that_nothing_is_kept_may_be_told_without_config(servers: Servers) -> None:
    server = servers["memory"]
    server.client().execute_command(
        "ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "&*", "+@all", "-config"
    )
    url = server.url.replace("unix://", "unix://app:pw@")
    with RedisSessionManager(RedisConfig(url=url, durability="memory")) as store:
        assert store.health().durability == "memory"


def test_a_demand_that_no_such_server_can_meet_is_refused_in_the_configuration() -> None:
    with pytest.raises(InvalidInput, match="durability='everysec' stands beside"):
        RedisConfig(url="memory://", durability="everysec")
    with pytest.raises(InvalidInput, match="durability='replicated' stands beside"):
        RedisConfig(url="embedded://", durability="replicated")
    with pytest.raises(InvalidInput, match="durability is one of"):
        RedisConfig(durability="fsync")  # type: ignore[arg-type]
    with RedisSessionManager(RedisConfig(url="memory://", durability="memory")) as store:
        assert store.health().durability == "memory"


# --- replicas have to confirm ---------------------------------------------------------------

_FAST = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")


class Followed:
    """A master and its replicas, which have everything it has."""

    def __init__(self, stack: ExitStack, replicas: int) -> None:
        first, *others = (
            stack.enter_context(RedisServer(*_FAST, tcp=True)) for _ in range(replicas + 1)
        )
        self.master, self.replicas, self._client = first, others, first.client()
        for replica in others:
            replica.client().replicaof("127.0.0.1", first.port)
        self.catch_up()

    def catch_up(self) -> None:
        """Block until every replica is connected and in step."""
        until(lambda: len(self.listed) == len(self.replicas))
        until(lambda: all(int(one[2]) for one in self.listed))

    @property
    def listed(self) -> list[Any]:
        """The replicas that the master lists."""
        role: Any = self._client.execute_command("ROLE")
        replicas: list[Any] = role[2]
        return replicas

    def store(self, **settings: Any) -> RedisSessionManager:
        config = RedisConfig(url=self.master.url, durability="replicated", **settings)
        return RedisSessionManager(config)

    @contextmanager
    def frozen(self, *which: int) -> Iterator[None]:
        """Have some replicas do nothing, though they stay connected."""
        for number in which:
            self.replicas[number].pause()
        try:
            yield
        finally:
            for number in which:
                self.replicas[number].resume()


@pytest.fixture(scope="module")
def shared() -> Iterator[Followed]:
    with ExitStack() as stack:
        yield Followed(stack, 2)


@pytest.fixture
def followed(shared: Followed) -> Followed:
    shared.catch_up()
    shared.master.client().flushall()
    return shared


def test_a_server_without_replicas_is_refused_at_connect(servers: Servers) -> None:
    config = RedisConfig(url=servers["always"].url, durability="replicated")
    with pytest.raises(StoreMisconfigured, match="has too few replicas") as caught:
        RedisSessionManager(config).connect()
    assert caught.value.cause == "0 of 1 are connected and in step"


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_is_acknowledged_is_on_every_replica(followed: Followed, protocol: int) -> None:
    with followed.store(protocol=protocol) as store:
        assert store.health().durability == "replicated"
        for number in range(20):
            store.create_session(f"s{number}")
            for replica in followed.replicas:
                assert replica.client().exists(f"session:{{s{number}}}")


@pytest.mark.parametrize("frozen", [(0,), (1,), (0, 1)])
def test_what_a_replica_does_not_confirm_is_not_durable_until_it_does(
    followed: Followed, frozen: tuple[int, ...]
) -> None:
    with followed.store(commit_timeout=0.5) as store:
        store.create_session("s")
        turn = store.begin_turn("s", "Hi", turn_id="t")
        with followed.frozen(*frozen):
            with pytest.raises(NotDurable, match="is written, but not on as many") as caught:
                store.commit_turn(turn, [Message("assistant", "Hello")])
            assert (caught.value.turn_id, caught.value.text) == ("t", "Hello")
            assert caught.value.cause == f"{2 - len(frozen)} of 2 replicas confirmed it in time"
            # It is there, and yet nobody is told so before it is safe.
            assert len(store.load_thread("s").messages) == 2
            with pytest.raises(NotDurable):
                store.commit_turn(turn, [Message("assistant", "Hello")])
            with pytest.raises(StoreUnavailable, match="is not settled"):
                store.resolve_turn("s", "t")
            assert store.health().state == "healthy"
        assert store.resolve_turn("s", "t") == "committed"
        assert len(store.load_thread("s").messages) == 2


def test_nothing_is_removed_before_its_branch_is_on_every_replica(followed: Followed) -> None:
    with followed.store(commit_timeout=0.5) as store:
        store.create_session("s", user_id="ada")
        store.append_to_thread("s", [Message("user", "one"), Message("user", "two")])
        with followed.frozen(0):
            for action in (
                lambda: store.fork_session("s"),
                lambda: store.rewind("s", 1, new_id="b"),
                lambda: store.set_title("s", "x"),
            ):
                with pytest.raises(NotDurable):
                    action()
            assert len(store.load_thread("s").messages) == 2
        followed.catch_up()
        assert store.rewind("s", 1, new_id="b") == "b"
        for replica in followed.replicas:
            assert replica.client().exists("session:{b}")


def test_a_commit_waits_for_a_replica_that_is_late(followed: Followed) -> None:
    with followed.store(commit_timeout=30.0) as store, ExitStack() as stack:
        store.create_session("s")
        turn = store.begin_turn("s", "Hi")
        stack.enter_context(followed.frozen(0))
        with ThreadPoolExecutor(1) as pool:
            committing = pool.submit(store.commit_turn, turn, [Message("assistant", "Hello")])
            until(lambda: store.stats().lost_replies > 1)
            stack.close()
            assert committing.result()
        assert len(store.load_thread("s").messages) == 2


def test_a_repetition_over_a_new_connection_that_finds_it_done_waits_too(
    followed: Followed,
) -> None:
    """What is written over another connection counts for nothing on some servers."""
    with followed.store() as store, followed.store() as other:
        store.create_session("s")
        with followed.frozen(0):
            with pytest.raises(NotDurable):
                store.append_to_thread("s", [Message("user", "Hi")], operation_id="o")
            with pytest.raises(NotDurable):
                other.append_to_thread("s", [Message("user", "Hi")], operation_id="o")


def test_what_is_refused_need_not_be_confirmed(followed: Followed) -> None:
    with followed.store() as store:
        store.create_session("s")
        store.begin_turn("s", "Hi")
        with followed.frozen(0):
            with pytest.raises(SessionNotFound):
                store.begin_turn("none", "Hi")
            with pytest.raises(SessionBusy):
                store.begin_turn("s", "Hi", on_busy="reject")


def test_reading_waits_for_nobody(followed: Followed) -> None:
    with followed.store() as store:
        store.create_session("s")
        with followed.frozen(0, 1):
            assert store.get_session("s") is not None
            assert store.load_thread("s").messages == ()
            assert store.stats().lost_replies == 0


def test_the_rule_of_a_user_is_enough_for_replicas_to_confirm(followed: Followed) -> None:
    admin = followed.master.client()
    url = followed.master.url.replace("redis://", "redis://app:pw@")
    for rule, is_enough in ((acl_rule(), False), (acl_rule(durability="replicated"), True)):
        admin.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rule)
        store = RedisSessionManager(RedisConfig(url=url, durability="replicated"))
        if is_enough:
            with store:
                store.create_session("s")
                assert {check.name: check.verdict for check in diagnose(store)}["rights"] == "ok"
        else:
            with pytest.raises(StoreMisconfigured, match="does not let us in"):
                store.connect()


def test_a_replica_that_is_gone_need_not_confirm_but_for_those_that_must_be_there() -> None:
    with ExitStack() as stack:
        followed = Followed(stack, 2)
        store = stack.enter_context(followed.store())
        strict = stack.enter_context(followed.store(min_replicas=2))
        followed.replicas[0].kill()
        until(lambda: len(followed.listed) == 1)
        store.create_session("s")
        with pytest.raises(NotDurable, match="1 of 2 replicas"):
            strict.create_session("t")
        with pytest.raises(StoreMisconfigured, match="1 of 2 are connected"):
            followed.store(min_replicas=2).connect()
        followed.replicas[1].kill()
        until(lambda: not followed.listed)
        with pytest.raises(NotDurable, match="0 of 1 replicas"):
            store.create_session("u")


def test_an_agent_tells_that_an_answer_is_not_durable_and_knows_it_once_it_is(
    followed: Followed,
) -> None:
    config = RedisConfig(url=followed.master.url, durability="replicated", commit_timeout=0.5)
    with ExitStack() as stack:

        def answer(_: object) -> str:
            stack.enter_context(followed.frozen(0))
            return "Hello"

        with SessionAgent(AgentConfig(model=answer), redis_config=config) as agent:
            manager = SessionManager(agent)
            session = manager.create_or_resume_session()
            with pytest.raises(NotDurable) as caught:
                manager.chat(session, "Hi")
            assert caught.value.text == "Hello"
            stack.close()
            assert agent.store.resolve_turn(session, caught.value.turn_id) == "committed"
            assert [one["content"] for one in manager.get_history(session)] == ["Hi", "Hello"]


# --- in a cluster -----------------------------------------------------------------------------


def test_in_a_cluster_the_replicas_of_a_session_s_node_have_to_confirm(
    cluster: ClusterServers, cluster_url: str
) -> None:
    for node in cluster.nodes:  # until each replica has confirmed something
        until(lambda node=node: _has_confirmed(node.client))
    config = RedisConfig(url=cluster_url, durability="replicated")
    with RedisSessionManager(config) as store:
        names = [f"s{number}" for number in range(12)]
        for name in names:
            store.create_session(name)
            store.commit_turn(store.begin_turn(name, "Hi"), [Message("assistant", "Hello")])
        assert sum(int(node.client.dbsize()) for node in cluster.replicas) > len(names)
        frozen, node = cluster.replicas[0].server, cluster.masters[0]
        there = [name for name in names if cluster.owner(f"session:{{{name}}}") is node]
        elsewhere = [name for name in names if name not in there]
        frozen.pause()
        with pytest.raises(NotDurable):
            store.begin_turn(there[0], "And?", turn_id="t")
        store.begin_turn(elsewhere[0], "And?")
        frozen.resume()
        assert store.resolve_turn(there[0], "t") == "open"
    until(cluster.is_whole)


def test_a_renewed_id_is_confirmed_by_the_replicas_of_both_nodes(
    cluster: ClusterServers, cluster_url: str
) -> None:
    for node in cluster.nodes:
        until(lambda node=node: _has_confirmed(node.client))
    config = RedisConfig(url=cluster_url, durability="replicated", commit_timeout=0.5)
    with RedisSessionManager(config) as store, ExitStack() as stack:
        old, new, back, again = _there_and_back(cluster)
        replicas = [_replica_of(cluster, name) for name in (old, new)]
        store.create_session(old, user_id="ada")
        store.commit_turn(store.begin_turn(old, "Hi"), [Message("assistant", "Hello")])
        assert store.renew_session_id(old, new_id=new) == new
        assert not replicas[0].client.exists(f"session:{{{old}}}")
        assert replicas[1].client.llen(f"thread:{{{new}}}") == 2
        # Back again, and the node to which it goes has a replica that hangs: nothing is removed.
        replicas[0].server.pause()
        stack.callback(replicas[0].server.resume)
        with pytest.raises(NotDurable):
            store.renew_session_id(new, new_id=back)
        assert len(store.load_thread(new).messages) == 2
        replicas[0].server.resume()
        # The node that it leaves has one: it is not acknowledged, and the repetition waits for it.
        replicas[1].server.pause()
        stack.callback(replicas[1].server.resume)
        with pytest.raises(NotDurable):
            store.renew_session_id(new, new_id=again)
        replicas[1].server.resume()
        assert store.renew_session_id(new, new_id=again) == again
        assert not replicas[1].client.exists(f"session:{{{new}}}")
        assert len(store.load_thread(again).messages) == 2
    until(cluster.is_whole)


def _there_and_back(cluster: ClusterServers) -> list[str]:
    """Return ids of sessions: one, one on another node, two on the node of the first."""
    names = [f"r{number}" for number in range(50)]
    nodes = [cluster.owner(f"session:{{{name}}}") for name in names]
    other = next(name for name, node in zip(names, nodes, strict=True) if node is not nodes[0])
    same = [name for name, node in zip(names, nodes, strict=True) if node is nodes[0]]
    return [same[0], other, *same[1:3]]


def _replica_of(cluster: ClusterServers, session_id: str) -> Node:
    """Return the replica of a session's node; it answers for what it has."""
    port = cluster.owner(f"session:{{{session_id}}}").server.port
    followed = {node.client.info("replication")["master_port"]: node for node in cluster.replicas}
    followed[port].client.execute_command("READONLY")
    return followed[port]


def _has_confirmed(client: Any) -> bool:
    role = client.execute_command("ROLE")
    return role[0] != b"master" or all(int(one[2]) for one in role[2])
