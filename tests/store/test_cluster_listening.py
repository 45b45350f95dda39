"""Who waits in a cluster: woken by the node that has the session, wherever that comes to be."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from redis.crc import key_slot

from miniagent_redis import Event, EventType, RedisConfig
from miniagent_redis.models import OpenTurn
from miniagent_redis.store import single_flight, turn_queue, wakes, watching
from miniagent_redis.store.manager import RedisSessionManager as Store
from tests.support.cluster import ClusterServers, Node
from tests.support.waiting import LIMIT, until
from tests.support.words import said

SESSIONS = [f"s{number}" for number in range(30)]


@pytest.fixture
def store(cluster_url: str) -> Iterator[Store]:
    with Store(RedisConfig(url=cluster_url)) as opened:
        yield opened


@pytest.fixture
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who waits looks by himself."""
    monkeypatch.setattr(wakes, "BLIND", 2 * LIMIT)
    monkeypatch.setattr(watching, "_LONGEST_WAIT", 2 * LIMIT)
    monkeypatch.setattr(turn_queue, "_LONGEST_WAIT", 2 * LIMIT)
    monkeypatch.setattr(turn_queue, "RENEWAL", 2 * LIMIT)
    monkeypatch.setattr(single_flight, "_LOOK_AROUND", 2 * LIMIT)


def slot(session_id: str) -> int:
    return int(key_slot(f"{{{session_id}}}".encode()))


def listeners(node: Node) -> int:
    return len(node.client.client_list(_type="pubsub"))


def listened_to(node: Node, name: str = "events:{s}") -> bool:
    return name in node.run("PUBSUB", "SHARDCHANNELS")


def told(cluster: ClusterServers, kind: str) -> int:
    """Return how many messages of a kind the nodes have sent to each other."""
    return sum(
        int(node.info().get(f"cluster_stats_messages_{kind}_sent", 0)) for node in cluster.nodes
    )


def begun(store: Store, watcher: Iterator[Event], session_id: str = "s") -> None:
    turn = store.begin_turn(session_id, "hi")
    assert next(watcher).type is EventType.TURN_STARTED
    store.commit_turn(turn, [said("ok")])
    assert next(watcher).type is EventType.AGENT_RESPONSE


class Held:
    """A session whose turn one store holds, and for which another one waits."""

    def __init__(self, holder: Store, waiter: Store, pool: ThreadPoolExecutor) -> None:
        self.holder = holder
        self.turn = holder.begin_turn("s", "one")
        self._next: Future[OpenTurn] = pool.submit(
            waiter.begin_turn, "s", "two", busy_timeout=2 * LIMIT
        )

    def end(self) -> None:
        """End it: the other one is woken, and has the session next."""
        self.holder.commit_turn(self.turn, [said("1")])
        self.holder.abort_turn(self.following())

    def following(self) -> OpenTurn:
        """Return the turn of the one who waits, once he has it."""
        return self._next.result(LIMIT)


def test_a_turn_is_told_to_no_other_master(cluster: ClusterServers, store: Store) -> None:
    store.create_session("s")
    store.commit_turn(store.begin_turn("s", "hi"), [said("a")])
    to_all, to_replica = told(cluster, "publish"), told(cluster, "publishshard")
    for _ in range(5):
        store.commit_turn(store.begin_turn("s", "hi"), [said("b")])
    assert told(cluster, "publish") == to_all
    assert told(cluster, "publishshard") == to_replica + 5 * 2


def test_who_waits_costs_one_connection_to_each_master(
    cluster: ClusterServers, store: Store, only_woken: None
) -> None:
    for session_id in SESSIONS:
        store.create_session(session_id)
    watchers = {one: store.watch(one, "", LIMIT) for one in SESSIONS}
    for watcher in watchers.values():
        assert next(watcher).type is EventType.SESSION_CREATED
    assert [listeners(node) for node in cluster.masters] == [1, 1, 1]
    assert store.stats().listening == len(SESSIONS)
    for session_id, watcher in watchers.items():
        begun(store, watcher, session_id)
    assert [listeners(node) for node in cluster.masters] == [1, 1, 1]
    store.disconnect()
    until(lambda: not any(map(listeners, cluster.masters)))


def test_who_waits_for_a_busy_session_is_woken(
    store: Store, cluster_url: str, only_woken: None
) -> None:
    store.create_session("s")
    with Store(RedisConfig(url=cluster_url)) as other, ThreadPoolExecutor() as pool:
        held = Held(store, other, pool)
        until(lambda: other.stats().listening)
        held.end()


def test_who_waits_for_a_value_is_woken(store: Store, cluster_url: str, only_woken: None) -> None:
    with Store(RedisConfig(url=cluster_url)) as other, ThreadPoolExecutor() as pool:
        for number in range(5):
            with store.parts.flights.flight(f"k{number}") as flight:
                got = pool.submit(other.cache_get_or_set, f"k{number}", lambda: "its own")
                until(lambda: other.stats().listening)
                flight.keep(number, 60)
            assert got.result(LIMIT) == number


def test_the_users_own_channels_are_told_on_every_node(
    cluster: ClusterServers, store: Store
) -> None:
    heard = [node.client.pubsub(ignore_subscribe_messages=True) for node in cluster.nodes]
    for one in heard:
        one.subscribe("news", "session_updates")
        until(lambda one=one: len(one.channels) == 2 and one.get_message() is None)  # type: ignore[misc]
    until(lambda: all(node.client.pubsub_numsub("news")[0][1] == 1 for node in cluster.nodes))
    store.publish("news", 1)
    store.create_session("s")
    for one in heard:
        got: list[bytes] = []
        until(lambda one=one, got=got: got.extend(_names(one)) or len(got) == 2)  # type: ignore[misc]
        assert sorted(got) == [b"news", b"session_updates"]
        one.close()


def _names(pubsub: Any) -> list[bytes]:
    message = pubsub.get_message()
    return [] if message is None else [message["channel"]]


# --- slots that move, and masters that die --------------------------------------------------------


class Followed:
    """A session that one store watches, and on which another one does turns."""

    def __init__(self, store: Store, other: Store, pool: ThreadPoolExecutor) -> None:
        self.store, self.pool = store, pool
        store.create_session("s")
        self._watcher = other.watch("s", "", 2 * LIMIT)
        assert next(self._watcher).type is EventType.SESSION_CREATED
        self._next: Future[Event] = pool.submit(next, self._watcher)

    def next(self) -> EventType:
        """Return what comes next, and have the watcher wait for what follows."""
        found = self._next.result(LIMIT)
        self._next = self.pool.submit(next, self._watcher)
        return found.type

    def is_told_of(self) -> None:
        """Do a turn, and see that the watcher is told of each part of it as it happens."""
        turn = self.store.begin_turn("s", "hi")
        assert self.next() is EventType.TURN_STARTED
        self.store.commit_turn(turn, [said("ok")])
        assert self.next() is EventType.AGENT_RESPONSE

    def end(self) -> None:
        self.store.delete_session("s")
        assert self._next.result(LIMIT).type is EventType.SESSION_ENDED


@pytest.fixture
def followed(store: Store, cluster_url: str, only_woken: None) -> Iterator[Followed]:
    with Store(RedisConfig(url=cluster_url)) as other, ThreadPoolExecutor() as pool:
        yield Followed(store, other, pool)


def test_a_watcher_goes_with_a_slot_that_moves(cluster: ClusterServers, followed: Followed) -> None:
    old = cluster.owner("{s}")
    new, third = (node for node in cluster.masters if node is not old)
    for source, target in ((old, new), (new, third), (third, old)):
        until(partial(listened_to, source))
        cluster.move(slot("s"), source, target)
        until(partial(listened_to, target))
        assert not listened_to(source)
        followed.is_told_of()
    followed.end()


def test_so_does_who_waits_for_a_busy_session(
    cluster: ClusterServers, store: Store, cluster_url: str, only_woken: None
) -> None:
    store.create_session("s")
    old = cluster.owner("{s}")
    new = next(node for node in cluster.masters if node is not old)
    with Store(RedisConfig(url=cluster_url)) as other, ThreadPoolExecutor() as pool:
        for source, target in ((old, new), (new, old)):
            held = Held(store, other, pool)
            until(partial(listened_to, source))
            cluster.move(slot("s"), source, target)
            until(partial(listened_to, target))
            held.end()


def test_what_is_told_while_a_slot_is_on_its_way_is_known_when_it_has_come(
    cluster: ClusterServers, store: Store, cluster_url: str, only_woken: None
) -> None:
    store.create_session("s")
    store.commit_turn(store.begin_turn("s", "hi"), [said("ok")])
    old = cluster.owner("{s}")
    new = next(node for node in cluster.masters if node is not old)
    with Store(RedisConfig(url=cluster_url)) as other, ThreadPoolExecutor() as pool:
        held = Held(store, other, pool)
        until(partial(listened_to, old))
        until(lambda: old.client.exists("queue:{s}"))
        cluster.begin_move(slot("s"), old, new)
        assert cluster.move_keys(slot("s"), old, new) == 7  # or scripts would be refused
        store.commit_turn(held.turn, [said("1")])
        assert listened_to(old)
        cluster.end_move(slot("s"), old, new)
        store.abort_turn(held.following())
        cluster.move(slot("s"), new, old)


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "cut off"])
def test_who_waits_goes_to_the_replica_that_takes_over(is_killed: bool, only_woken: None) -> None:
    with (
        ClusterServers() as cluster,
        Store(RedisConfig(url=cluster.url, commit_timeout=LIMIT)) as store,
        Store(RedisConfig(url=cluster.url)) as other,
        ThreadPoolExecutor() as pool,
    ):
        followed = Followed(store, other, pool)
        followed.is_told_of()
        held = Held(store, other, pool)
        assert followed.next() is EventType.TURN_STARTED
        until(lambda: other.stats().listening == 2)
        master = cluster.owner("{s}")
        replica = cluster.replica_of(master)
        if is_killed:
            cluster.replace_by(replica)
        else:
            cluster.cut_off(master)
        until(partial(listened_to, replica))
        assert cluster.owner("{s}") is replica
        assert not listened_to(master)
        held.end()
        assert followed.next() is EventType.AGENT_RESPONSE
        assert followed.next() is EventType.TURN_STARTED
