"""What the doctor says of a server: each check finds what it is for, and says what mends it."""

from __future__ import annotations

import re

import pytest
from doctor_checks import examine
from servers import RedisServer
from waiting import until

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.clock import ManualClock
from miniagent_redis.diagnosis import Check, examination, server


def test_a_server_that_dies_on_the_way_is_told_by_the_check_that_met_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RedisServer() as server:
        real = examination.rights

        def rights_of_a_dead_server(store: RedisSessionManager) -> Check:
            server.kill()
            return real(store)

        monkeypatch.setattr(examination, "rights", rights_of_a_dead_server)
        checks = examine(server.url)
    assert checks["version"].verdict == "ok"
    assert checks["rights"].verdict == "fail"
    assert "no Redis answers" in checks["rights"].detail
    assert {checks[name].verdict for name in ("clock", "expiry", "open turns")} == {"skip"}


def test_a_password_that_is_missing_is_told() -> None:
    with RedisServer("--requirepass", "secret") as server:
        checks = examine(server.url)
        assert checks["reachable"].verdict == "fail"
        assert "does not let us in" in checks["reachable"].detail
        assert "password" in checks["reachable"].fix
        assert examine(f"unix://:secret@{server.socket}")["reachable"].verdict == "ok"


def test_a_slow_server_is_told(store: RedisSessionManager, durable: RedisServer) -> None:
    assert examination.round_trip(store).verdict == "ok"
    with (
        RedisServer("--enable-debug-command", "yes") as slow,
        RedisSessionManager(RedisConfig(url=slow.url)) as other,
    ):
        examination.reachable(other)
        connection = slow.client().connection_pool.get_connection()
        connection.connect()
        connection.send_command("DEBUG", "SLEEP", "0.3")
        check = examination.round_trip(other)
        connection.disconnect()
    assert check.verdict == "warn"
    assert "SLOWLOG GET" in check.fix


def test_a_version_before_7_fails() -> None:
    assert server.version({"redis_version": "7.0.15"}) == Check("version", "ok", "Redis 7.0.15")
    check = server.version({"redis_version": "6.2.14"})
    assert (check.verdict, check.detail) == ("fail", "Redis 6.2.14")
    assert "7.0" in check.fix
    valkey = {"redis_version": "7.2.4", "valkey_version": "9.1.2", "server_name": "valkey"}
    assert server.version(valkey).detail == "Valkey 9.1.2 (speaks Redis 7.2.4)"
    assert server.version({}).verdict == "warn"


def test_a_server_that_keeps_nothing_fails_until_the_fix_is_made(redis_url: str) -> None:
    with RedisServer() as server:
        check = examine(server.url)["persistence"]
        assert (check.verdict, check.fix) == (
            "fail",
            "CONFIG SET appendonly yes, then CONFIG REWRITE",
        )
        assert check.detail == "memory: a restart of the server loses everything"
        client = server.client()
        client.config_set("appendonly", "yes")
        check = examine(server.url)["persistence"]
        assert (check.verdict, check.detail.partition(":")[0]) == ("ok", "everysec")
        client.config_set("appendfsync", "always")
        assert examine(server.url)["persistence"].detail.startswith("always: ")
        client.config_set("appendfsync", "no")
        check = examine(server.url)["persistence"]
        assert (check.verdict, check.fix.partition(",")[0]) == (
            "warn",
            "CONFIG SET appendfsync everysec",
        )


def test_snapshots_alone_are_a_warning_and_fail_when_they_fail() -> None:
    with RedisServer("--save", "3600 1", "--stop-writes-on-bgsave-error", "no") as server:
        client = server.client()
        assert examine(server.url)["persistence"].verdict == "warn"
        (server.folder / "dump.rdb").mkdir()  # in the way of the file
        client.set("a", 1)
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] != "ok")
        check = examine(server.url)["persistence"]
        assert (check.verdict, check.detail) == ("fail", "memory: and its last snapshot failed")
        client.config_set("stop-writes-on-bgsave-error", "yes")
        check = examine(server.url)["reachable"]  # not even a PING is answered then
        assert check.verdict == "fail"
        assert "unable to persist to disk" in check.detail


def test_an_append_only_file_that_cannot_be_written_fails() -> None:
    check = server.persistence({"aof_enabled": 1, "aof_last_write_status": "err"}, {})
    assert check.verdict == "fail"
    assert "room" in check.fix


def test_a_server_that_evicts_fails_until_the_fix_is_made() -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server:
        check = examine(server.url)["eviction"]
        assert check.verdict == "fail"
        assert check.detail == "allkeys-lru: it may throw away live sessions"
        server.client().execute_command(*check.fix.partition(",")[0].split())
        assert examine(server.url)["eviction"].verdict == "ok"


def test_memory_that_is_nearly_full_is_told() -> None:
    with RedisServer("--maxmemory", "20mb") as server:
        client = server.client()

        def fill(part: float) -> Check:
            while client.info("memory")["used_memory"] < 20 * 2**20 * part:
                client.rpush("filling", "x" * 10_000)
            return examine(server.url)["memory"]

        assert examine(server.url)["memory"].verdict == "ok"
        assert fill(0.8).verdict == "warn"
        check = fill(0.93)
        assert check.verdict == "fail"
        assert "writes will be refused" in check.detail
        client.execute_command(*check.fix.partition(",")[0].split())
        assert examine(server.url)["memory"].verdict == "ok"


def test_clocks_that_are_apart_are_told(durable: RedisServer) -> None:
    clock = ManualClock()
    assert examine(durable.url, clock=clock)["clock"].verdict == "ok"
    clock.advance(3600)
    check = examine(durable.url, clock=clock)["clock"]
    assert check.verdict == "warn"
    assert re.match(r"the server is 3(600|599|598).\d s behind this machine", check.detail)
