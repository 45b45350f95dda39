"""A real cluster: three masters and three replicas, whose slots move under a store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha1
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.crc import key_slot

from miniagent_redis import (
    Budget,
    BudgetExceeded,
    Message,
    RateLimit,
    RateLimited,
    RedisConfig,
    SessionAgent,
    SessionBusy,
    SessionManager,
    StoreMisconfigured,
    StoreUnavailable,
    ToolCall,
    Usage,
    WaitingCall,
    aio,
)
from miniagent_redis.connection.connections import Connections
from miniagent_redis.connection.topology.slots import SlotMap, slot_of
from miniagent_redis.fsck import check
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager as Store
from miniagent_redis.store.scripts import sharded, source
from miniagent_redis.telemetry import Exchange
from tests.support.calls import CALLS
from tests.support.cluster import ClusterServers, Node
from tests.support.every_call import make_every_call
from tests.support.instruments import Notes
from tests.support.scripts import OPERATIONS
from tests.support.servers import RedisServer
from tests.support.waiting import LIMIT, until
from tests.support.words import call, lines, result, said, soon

X = Message("user", "x")
SESSIONS = [f"s{number}" for number in range(30)]
_FEW = 6


@pytest.fixture
def store(cluster_url: str) -> Iterator[Store]:
    """Yield a store on the shared cluster; there is none of that name in memory."""
    with Store(RedisConfig(url=cluster_url)) as opened:
        yield opened


@pytest.fixture
def client(store: Store) -> redis.Redis:
    return store.client


def elsewhere(cluster: ClusterServers, node: Node) -> Node:
    return next(other for other in cluster.masters if other is not node)


def slot(session_id: str) -> int:
    return int(key_slot(f"{{{session_id}}}".encode()))


# --- what a store is for ------------------------------------------------------------------------


def test_conversations_are_held_on_all_nodes(cluster: ClusterServers, cluster_url: str) -> None:
    with SessionAgent(redis_config=RedisConfig(url=cluster_url)) as agent:
        manager = SessionManager(agent)
        for session_id in SESSIONS:
            manager.create_or_resume_session("ada", session_id)
            manager.chat(session_id, "Hello", user_id="ada")
            assert [m["role"] for m in manager.get_history(session_id)] == ["user", "assistant"]
        agent.store.parts.index.flush()
        agent.store.parts.usage.flush()
        listed = {each["session_id"] for each in manager.list_sessions("ada")}
        assert listed == set(SESSIONS)
        assert manager.usage(user_id="ada").turns == len(SESSIONS)
        assert check(agent.store) == []
    for node in cluster.masters:
        assert [key for key in node.client.keys("thread:*") if key]


def test_a_turn_is_kept_step_by_step_and_told_to_watchers(store: Store) -> None:
    store.create_session("s")
    turn = store.stage_step(store.begin_turn("s", "hi"), [call("c")])
    turn = store.stage_step(turn, [result("c")])
    with ThreadPoolExecutor() as pool:
        watcher = store.watch("s", store.read_events("s")[-1].id, LIMIT)
        heard = pool.submit(next, watcher)
        until(lambda: store.stats().watchers)
        store.commit_turn(turn, [said("done")])
        assert heard.result(LIMIT).type.value == "agent_response"
    assert lines(store) == ["user:hi", "assistant:", "tool:ok", "assistant:done"]


def test_a_begun_and_committed_turn_is_two_round_trips(cluster_url: str) -> None:
    notes = Notes()
    with Store(RedisConfig(url=cluster_url), instrumentation=notes) as store:
        store.create_session("s")
        store.commit_turn(store.begin_turn("s", "hi"), [said("a")])  # the scripts are there now
        before = len(notes.of(Exchange))
        store.commit_turn(store.begin_turn("s", "hi"), [said("b")])
        told = notes.of(Exchange)[before:]
    assert [(one.operation, one.commands, one.tries) for one in told] == [
        ("begin_turn", 1, 1), ("commit_turn", 1, 1),
    ]  # fmt: skip


def test_sessions_expire_on_all_nodes(cluster_url: str) -> None:
    clock = ManualClock()
    with Store(RedisConfig(url=cluster_url, session_ttl=60), clock=clock) as store:
        for session_id in SESSIONS:
            store.create_session(session_id)
        clock.advance(61)
        ended = []
        while store.sweep([lambda expired: ended.append(expired.session_id)]):
            pass
        assert sorted(ended) == sorted(SESSIONS)
        assert not list(store.list_sessions())


def test_limits_and_locks_hold_for_all_instances(store: Store, cluster_url: str) -> None:
    limit = RateLimit(per="user", window=60, requests=2)
    with Store(RedisConfig(url=cluster_url)) as other:
        for each in (store, other):
            each.check_rate_limits([limit], session_id="s", user_id="ada")
        with pytest.raises(RateLimited):
            store.check_rate_limits([limit], session_id="s", user_id="ada")
        with store.lock("job"):
            assert not other.acquire_lock("job", timeout=0)
        assert other.acquire_lock("job", timeout=0)


def test_a_budget_holds_for_all_instances(store: Store, cluster_url: str) -> None:
    budgets = [Budget(per="user", tokens=100), Budget(per="session", tokens=100)]
    whose: dict[str, Any] = {"turn_id": "t", "session_id": "s", "user_id": "ada"}
    with Store(RedisConfig(url=cluster_url)) as other:
        for each in (store, other):
            held = each.parts.budgets.reserve(budgets, Usage(40), Usage(40), None, **whose)
            held.settle(Usage(45))
        with pytest.raises(BudgetExceeded):
            store.parts.budgets.reserve(budgets, Usage(40), Usage(40), None, **whose)


def test_one_computes_and_all_have_the_value(store: Store, cluster_url: str) -> None:
    with Store(RedisConfig(url=cluster_url)) as other, ThreadPoolExecutor() as pool:
        got = [pool.submit(each.cache_get_or_set, "k", lambda: [1]) for each in (store, other)]
        assert [one.result(LIMIT) for one in got] == [[1], [1]]
        assert store.stats().cache.misses + other.stats().cache.misses >= 1


def test_every_call_works_and_each_script_keeps_to_one_slot(
    cluster_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {sha1(sharded(source(name)).encode()).hexdigest(): name for name in OPERATIONS}
    seen: dict[str, set[int]] = {}
    send = Connections._send

    def noted(self: Connections, nonce: Any, node: str, commands: Any, **more: Any) -> Any:
        for command in commands:
            if command[0] == "EVALSHA":
                keys = command[3 : 3 + command[2]]
                slots = {int(key_slot(key.encode())) for key in keys}
                assert slots == {slot_of(command)}, (names[command[1]], keys)
                seen.setdefault(names[command[1]], set()).update(slots)
        return send(self, nonce, node, commands, **more)

    monkeypatch.setattr(Connections, "_send", noted)
    make_every_call(cluster_url, "on a cluster")
    with Store(RedisConfig(url=cluster_url)) as store:
        store.create_session("busy")
        store.begin_turn("busy", X)
        with pytest.raises(SessionBusy):
            store.begin_turn("busy", X, busy_timeout=0.01)
        store.create_session("waits")
        parking = store.parts.parking
        turn = store.begin_turn("waits", X)
        turn = store.stage_step(turn, [Message("assistant", "", (ToolCall("c", "pick", {}),))])
        parking.park_turn(turn, [WaitingCall("c", "pick")])
        assert [each["session_id"] for each in parking.list_waiting()] == ["waits"]
        assert parking.answer("waits", turn.turn_id, {"c": "red"}) is not None
        store.client.hset("metadata:{busy}", "message_count", 7)
        store.create_session("stays", ttl="never")
        store.append_to_thread("stays", X)
        store.client.expire("thread:{stays}", 1000)
        check(store, repair=True)
        several = [RateLimit(per=per, window=60, requests=1) for per in ("session", "user")]
        admission = store.parts.limits.admission(several, "busy", "ada")
        admission.ask()
        admission.take_back()
        branch = store.fork_session("stays")
        store.delete_session(branch)
        store.parts.branch_index.strike("stays", [branch])
        assert store.list_branches("stays") == []
        store.create_session("eve's", user_id="eve")
        store.append_to_thread("eve's", X)
        assert len(store.search("x", "eve")) == 1
        assert store.forget_user("eve").sessions == 1
        store.parts.index.enter("is not there", None, 1, 1)
        store.list_sessions()
    clock = ManualClock()
    config = RedisConfig(url=cluster_url, session_ttl=60, max_session_size=20_000, on_full="trim")
    with Store(config, clock=clock) as store:
        store.create_session("full")
        for _ in range(50):
            store.append_to_thread("full", Message("user", "x" * 1000))
        store.create_session("ends")
        clock.advance(61)
        assert store.sweep([print])
    assert set(OPERATIONS) - seen.keys() == set()
    assert len({slot for slots in seen.values() for slot in slots}) > len(CALLS)


# --- slots that move ----------------------------------------------------------------------------


def test_a_slot_that_moved_is_found_in_the_same_call(cluster: ClusterServers, store: Store) -> None:
    store.create_session("s")
    old = cluster.owner("{s}")
    new = elsewhere(cluster, old)
    new.client.script_flush()  # it knows none of the scripts yet
    cluster.move(slot("s"), old, new)
    store.append_to_thread("s", X)
    assert lines(store) == ["user:x"]
    assert store.stats().retries == 0
    cluster.move(slot("s"), new, old)
    store.append_to_thread("s", X)
    assert lines(store) == ["user:x", "user:x"]


def test_a_key_that_is_on_its_way_is_asked_for_where_it_is(
    cluster: ClusterServers, store: Store
) -> None:
    key = store.parts.core.keys.cache("k")
    moving = int(key_slot(key.encode()))
    store.cache_set("k", 1)
    old = cluster.owner(key)
    new = elsewhere(cluster, old)
    cluster.begin_move(moving, old, new)
    cluster.move_keys(moving, old, new)
    try:
        assert store.cache_get("k") == 1
        store.cache_set("k", 2)
        assert store.cache_get("k") == 2
        core = store.parts.core
        others = [f"k{number}" for number in range(20)]
        told = core.call_many([("EXISTS", core.keys.cache(name)) for name in [*others, "k"]])
        assert told == [0] * 20 + [1]
        assert store.stats().retries == 0
    finally:
        cluster.end_move(moving, old, new)
        cluster.move(moving, new, old)


def test_what_waits_for_a_slot_on_its_way_is_done_when_it_has_come(
    cluster: ClusterServers, cluster_url: str
) -> None:
    with Store(RedisConfig(url=cluster_url, commit_timeout=LIMIT)) as store:
        store.create_session("s")
        turn = store.begin_turn("s", "hi")
        old = cluster.owner("{s}")
        new = elsewhere(cluster, old)
        cluster.begin_move(slot("s"), old, new)
        (one, *_) = old.run("CLUSTER", "GETKEYSINSLOT", slot("s"), 1)
        old.run("MIGRATE", "127.0.0.1", new.server.port, "", 0, 5000, "KEYS", one)
        with ThreadPoolExecutor() as pool:
            committing = pool.submit(store.commit_turn, turn, [said("done")])
            until(lambda: store.stats().retries)
            cluster.move_keys(slot("s"), old, new)
            cluster.end_move(slot("s"), old, new)
            committing.result(LIMIT)
        assert lines(store) == ["user:hi", "assistant:done"]
        cluster.move(slot("s"), new, old)


def test_a_batch_over_all_nodes_finds_what_moved(cluster: ClusterServers, store: Store) -> None:
    for session_id in SESSIONS:
        store.create_session(session_id, user_id="ada")
    moved = [(slot(each), cluster.owner(slot(each))) for each in SESSIONS[:5]]
    for number, old in moved:
        cluster.move(number, old, elsewhere(cluster, old))
    assert {each["session_id"] for each in store.list_sessions("ada")} == set(SESSIONS)
    for number, old in moved:
        cluster.move(number, elsewhere(cluster, old), old)


# --- nodes that are away ------------------------------------------------------------------------


def test_a_frozen_node_holds_up_its_own_sessions_only() -> None:
    config = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
    with (
        ClusterServers(2, replicas=False, node_timeout=5) as cluster,
        Store(RedisConfig(url=cluster.url, **config)) as store,  # type: ignore[arg-type]
    ):
        for session_id in SESSIONS:
            store.create_session(session_id)
        frozen, _ = cluster.masters
        away = [each for each in SESSIONS if slot(each) in frozen.slots()]
        frozen.server.pause()
        for number, session_id in enumerate(SESSIONS):
            if session_id not in away:
                store.append_to_thread(session_id, X)
            elif number < _FEW:
                soon(StoreUnavailable, partial(store.session_state, session_id))
        assert store.health().state == "healthy"
        frozen.server.resume()
        for session_id in away:
            store.append_to_thread(session_id, X)


def test_listeners_leave_a_node_that_died() -> None:
    with (
        ClusterServers(2, replicas=False, node_timeout=5) as cluster,
        Store(RedisConfig(url=cluster.url)) as store,
        ThreadPoolExecutor() as pool,
    ):
        store.subscribe(["news"])
        heard = pool.submit(next, store.get_messages(LIMIT))
        (asked,) = [n for n in cluster.masters if n.client.pubsub_channels()]
        other = elsewhere(cluster, asked)
        asked.server.kill()
        until(lambda: other.client.pubsub_channels())
        other.run("PUBLISH", "news", "1")
        assert heard.result(LIMIT)["data"] == 1


# --- users' own clients -------------------------------------------------------------------------


# redis-py 6.0 warns of what it does itself.
@pytest.mark.filterwarnings("ignore:Call to '__init__' function with deprecated usage")
def test_the_users_client_is_redis_pys_own(store: Store) -> None:
    client: Any = store.client
    assert isinstance(client, redis.RedisCluster)
    for number in range(20):
        assert client.set(f"mine{number}", number)
    assert client.mget_nonatomic([f"mine{number}" for number in range(3)]) == [b"0", b"1", b"2"]
    assert store.stats().client is None


def test_so_is_that_of_asyncio(store: Store) -> None:
    async def use() -> Any:
        client = store.parts.core.connections.async_client()
        try:
            await client.set("mine", 1)
            return client, await client.get("mine")
        finally:
            await client.aclose()

    client, got = asyncio.run(use())
    assert isinstance(client, redis.asyncio.RedisCluster)
    assert got == b"1"


def test_it_is_closed_with_the_asyncio_store(cluster_url: str) -> None:
    async def use() -> None:
        async with aio.RedisSessionManager(RedisConfig(url=cluster_url)) as manager:
            assert await manager.client.ping()

    asyncio.run(use())


# --- addresses ----------------------------------------------------------------------------------


def test_one_host_that_answers_is_enough(cluster: ClusterServers) -> None:
    url = f"redis+cluster://127.0.0.1:1,{cluster.replicas[0].name}"
    with Store(RedisConfig(url=url)) as store:
        store.create_session("s")
        assert store.health_check()


def test_nobody_answers() -> None:
    with pytest.raises(StoreUnavailable, match="no Redis answers"):
        Store(RedisConfig(url="redis+cluster://127.0.0.1:1")).connect()


def test_a_server_that_is_in_no_cluster_is_told_as_such(redis_server: RedisServer) -> None:
    with RedisServer(tcp=True) as server:
        url = f"redis+cluster://127.0.0.1:{server.port}"
        with pytest.raises(StoreMisconfigured, match="is no node of a cluster") as caught:
            Store(RedisConfig(url=url)).connect()
    assert "redis://" in caught.value.hint


def test_a_node_that_is_taken_for_a_server_of_its_own_is_told_as_such(
    cluster: ClusterServers,
) -> None:
    with Store(RedisConfig(url=f"redis://{cluster.masters[0].name}")) as store:
        caught = soon(StoreMisconfigured, lambda: [store.create_session(one) for one in SESSIONS])
    assert "is a node of a cluster" in caught.problem
    assert "redis+cluster://" in caught.hint


def test_a_password_is_for_all_nodes() -> None:
    with ClusterServers(1, replicas=False) as cluster:
        (node,) = cluster.masters
        node.client.config_set("requirepass", "hunter2")
        with pytest.raises(StoreMisconfigured, match="does not let us in") as caught:
            Store(RedisConfig(url=cluster.url)).connect()
        assert "hunter2" not in str(caught.value)
        url = cluster.url.replace("://", "://:hunter2@")
        with Store(RedisConfig(url=url)) as store:
            store.create_session("s")
            assert store.client.get("session:{s}")


# --- the map ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "name"),
    [
        ([b"10.0.0.7", 7000, b"id"], "10.0.0.7:7000"),
        ([b"", 7000, b"id"], "asked:7000"),
        ([None, 7000, b"id", []], "asked:7000"),
        ([b"redis.example.org", 7000, b"id", [b"ip", b"10.0.0.7"]], "redis.example.org:7000"),
        ([b"?", 7000, b"id", [b"ip", b"10.0.0.7"]], "10.0.0.7:7000"),
        ([b"?", 7000, b"id"], ""),
        ([b"::1", 7000, b"id"], "::1:7000"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_node_is_where_the_cluster_says_or_where_it_was_asked(member: Any, name: str) -> None:
    told = SlotMap([[0, 5, member], [7, 16383, member, member]], "asked:6379")
    assert (told.owner(0), told.owner(6), told.owner(16383)) == (name, "", name)
    assert told.masters == told.nodes == ((name,) if name else ())


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "a"), b"a"),
        (("EVALSHA", "digest", 2, "{x}1", "{x}2", "nonce"), b"x"),
        (("EVAL", "text", 0), None),
        (("PUBLISH", b"events:{s}", ""), b"s"),
        (("MEMORY", "USAGE", "{s}k"), b"s"),
        (("TIME",), None),
        (("SCAN", 0, "MATCH", "*"), None),
        (("SET", "é", 1), "é".encode()),
        (("GET", 7), b"7"),
        pytest.param(("GET", memoryview(bytearray(b"{x}1"))), b"x", id="GET of a memoryview"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_command_goes_where_its_first_key_is(command: Any, key: bytes | None) -> None:
    assert slot_of(command) == (None if key is None else key_slot(key))
