"""The doctor tries a whole turn: what would refuse one is told with its own cause and cure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager, StoreUnavailable
from miniagent_redis.doctor import Check, check, diagnose, left_out, turn, verdict
from miniagent_redis.doctor.fsck import check as fsck
from miniagent_redis.store.storing import Storing
from miniagent_redis.store.turns import Turns
from tests.support.command_line import Home
from tests.support.doctor_checks import examine
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import until


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Yield a server of which the doctor has nothing to say."""
    with RedisServer("--appendonly", "yes", tcp=True) as started:
        yield started


def assert_only_the_turn_fails(checks: dict[str, Check], *told: str) -> None:
    assert {name for name, one in checks.items() if one.verdict == "fail"} == {"turn"}
    for words in told:
        assert words in checks["turn"].detail + checks["turn"].fix
    assert "doctor" not in checks["turn"].fix
    assert not [name for name, one in checks.items() if one.verdict == "skip"]


def test_a_turn_leaves_nothing_behind_and_is_told_to_nobody(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    store.client.flushdb()
    store.subscribe(["session_updates"])
    assert turn.turn(store).verdict == "ok"
    assert store.client.keys() == []
    store.create_session("other")
    store.commit_turn(store.begin_turn("other", "Hi"), [])
    store.parts.index.flush()
    heard = next(iter(store.get_messages(timeout=5)))
    assert "doctor" not in str(heard)
    assert [each["session_id"] for each in store.list_sessions()] == ["other"]


def test_a_turn_that_fails_half_way_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, durable: RedisServer, store: RedisSessionManager
) -> None:
    def commit_turn(*_: object, **__: object) -> None:
        assert store.client.keys("session:*doctor-trial*")
        raise StoreUnavailable("the server refuses it", cause="OOM", hint="see elsewhere")

    monkeypatch.setattr(Storing, "commit_turn", commit_turn)
    before = sorted(store.client.keys())
    assert turn.turn(store) == Check("turn", "fail", "the server refuses it: OOM", "see elsewhere")
    assert sorted(store.client.keys()) == before


def test_what_another_doctor_is_trying_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, durable: RedisServer, store: RedisSessionManager
) -> None:
    found: list[Any] = []
    real = Storing.commit_turn

    def commit_turn(self: Storing, *args: Any, **options: Any) -> int:
        found.append(fsck(store, repair=True))
        return real(self, *args, **options)

    monkeypatch.setattr(Storing, "commit_turn", commit_turn)
    assert turn.turn(store).verdict == "ok"
    assert found == [[]]


def test_a_turn_is_tried_in_memory_and_in_a_namespace() -> None:
    assert examine("memory://")["turn"].verdict == "ok"
    with RedisSessionManager(RedisConfig(url="memory://", namespace="acme")) as acme:
        acme.create_session("s")
        acme.append_to_thread("s", Message("user", "Hi"))
        assert {one.verdict for one in diagnose(acme)} == {"ok", "warn", "skip"}


def test_a_limit_of_ones_own_does_not_stop_it(durable: RedisServer) -> None:
    config = RedisConfig(url=durable.url, max_session_size=1, session_max_age=0.001)
    with RedisSessionManager(config) as store:
        assert turn.turn(store).verdict == "ok"


def test_a_replica_fails_and_the_primary_is_named(home: Home, server: RedisServer) -> None:
    with RedisServer("--appendonly", "yes") as replica:
        replica.client().replicaof("127.0.0.1", server.port)
        until(lambda: replica.client().info("replication")["master_link_status"] == "up")
        checks = examine(replica.url)
        assert checks["role"].fix.endswith(f"redis://127.0.0.1:{server.port}")
        assert "is a replica and takes no writes" in checks["turn"].detail
        last = home.run("doctor", "--url", replica.url, code=3).stdout.splitlines()[-1]
        assert last == "fail  verdict      not fit: see role, turn"
        server.stop()
        until(lambda: replica.client().info("replication")["master_link_status"] == "down")
        assert "its link to that is down" in examine(replica.url)["role"].detail
        replica.client().replicaof("NO", "ONE")
        assert verdict(list(examine(replica.url).values())).verdict != "fail"


def test_too_few_replicas_fail(home: Home, server: RedisServer) -> None:
    server.client().config_set("min-replicas-to-write", 1)
    assert_only_the_turn_fails(
        examine(server.url), "too few replicas", "lower `min-replicas-to-write`"
    )
    assert "not fit: see turn" in home.run("doctor", "--url", server.url, code=3).stdout
    server.client().config_set("min-replicas-to-write", 0)
    assert examine(server.url)["turn"].verdict == "ok"


def test_a_server_without_memory_fails(server: RedisServer) -> None:
    server.client().config_set("maxmemory", 1)
    checks = examine(server.url)
    assert checks["memory"].verdict == checks["turn"].verdict == "fail"
    assert "raise `maxmemory` there" in checks["turn"].fix
    assert checks["records"].verdict == "ok"


def test_a_server_that_cannot_save_fails_and_is_asked_all_the_rest(
    home: Home, server: RedisServer
) -> None:
    in_the_way = Path(server.folder / "dump.rdb")
    in_the_way.unlink(missing_ok=True)
    in_the_way.mkdir()
    (in_the_way / "occupied").touch()
    admin = server.client()
    admin.config_set("save", "3600 100000")
    admin.bgsave()
    until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
    checks = examine(server.url)
    for name in ("reachable", "turn"):  # a PING is refused, too
        assert checks[name].verdict == "fail"
        assert "cannot save to its disk" in checks[name].detail
        assert "make room on that disk" in checks[name].fix
    for name in ("version", "role", "persistence", "eviction", "memory", "rights", "clock"):
        assert checks[name].verdict == "ok", name
    *_, skipped, last = home.run("doctor", "--url", server.url, code=3).stdout.splitlines()
    assert skipped.startswith("skip  not checked  round trip, ")
    assert last.startswith("fail  verdict      not fit: see reachable, turn; ")


def test_a_server_that_loads_its_data_is_asked_all_that_it_answers(server: RedisServer) -> None:
    server.client().mset({f"key{number}": os.urandom(1100) for number in range(2000)})
    with RedisServer() as loading:
        client = loading.client()
        client.config_set("key-load-delay", 20_000)
        client.config_set("loading-process-events-interval-bytes", 1024)
        client.replicaof("127.0.0.1", server.port)
        until(lambda: client.info("persistence")["loading"])
        checks = examine(loading.url)
        assert client.info("persistence")["loading"]
    assert "is loading its data" in checks["reachable"].detail
    assert checks["turn"].verdict == "fail"
    assert (checks["version"].verdict, checks["role"].verdict) == ("ok", "fail")
    assert checks["records"].verdict == "skip"


def test_a_replica_without_its_primary_is_told_as_that(server: RedisServer) -> None:
    client = server.client()
    client.config_set("replica-serve-stale-data", "no")
    client.replicaof("127.0.0.1", 1)
    checks = examine(server.url)
    for name in ("reachable", "turn"):
        assert "replica without its master" in checks[name].detail
    assert checks["role"].verdict == "fail"
    assert checks["persistence"].verdict == "ok"


def test_a_right_that_is_missing_fails_with_the_line_that_gives_it(server: RedisServer) -> None:
    words = "ACL SETUSER bo reset on >pw ~* &* +@all -hset"
    server.client().execute_command(*words.split(" "))
    checks = examine(f"redis://bo:pw@127.0.0.1:{server.port}")
    assert "does not let us in" in checks["turn"].detail
    assert checks["turn"].fix == checks["rights"].fix
    assert "ACL SETUSER bo " in checks["turn"].fix


def test_a_refusal_that_nobody_knows_is_told_as_it_is_and_not_by_pointing_back_here(
    server: RedisServer,
) -> None:
    with Proxy(server.socket) as proxy:
        proxy.answer("-ERR something new\r\n", times=100, matching="doctor-trial-")
        check = examine(proxy.url)["turn"]
    assert check.verdict == "fail"
    assert "something new" in check.detail
    assert "see its log" in check.fix
    assert "doctor" not in check.fix


def test_a_server_that_dies_in_mid_turn_ends_the_examination(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    real = Turns.stage_step

    def stage_step(*args: Any, **options: Any) -> Any:
        server.kill()
        return real(*args, **options)

    monkeypatch.setattr(Turns, "stage_step", stage_step)
    checks = examine(server.url)
    assert checks["turn"].verdict == "fail"
    assert checks["records"] == check.not_checked("records")


def test_a_stored_turn_that_cannot_be_read_fails(
    monkeypatch: pytest.MonkeyPatch, durable: RedisServer, store: RedisSessionManager
) -> None:
    monkeypatch.setattr(turn, "_STEPS", ())
    assert turn.turn(store).detail == "what was stored is not what is read"


def test_a_turn_that_takes_long_is_told(
    monkeypatch: pytest.MonkeyPatch, durable: RedisServer, store: RedisSessionManager
) -> None:
    monkeypatch.setattr(turn, "_SLOW_MS", 0.0)
    told = turn.turn(store)
    assert (told.verdict, "SLOWLOG GET" in told.fix) == ("warn", True)


def test_what_was_not_checked_is_one_line_with_each_reason_once() -> None:
    ok = Check("a", "ok", "fine")
    assert left_out([ok]) is None
    skipped = [check.not_checked(name, "no right") for name in ("b", "c")]
    told = left_out([ok, *skipped, check.not_checked("d", "left out", "do it")])
    assert told == Check("not checked", "skip", "b, c: no right; d: left out", "do it")
    assert verdict([ok]) == Check("verdict", "ok", "fit")
    assert verdict([ok, *skipped]) == Check("verdict", "ok", "fit; 2 of 3 not checked")
    warned = Check("e", "warn", "")
    assert verdict([ok, warned]) == Check("verdict", "warn", "fit, but see e")
    failed = Check("f", "fail", "")
    assert verdict([warned, failed]) == Check("verdict", "fail", "not fit: see f")
