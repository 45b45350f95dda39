"""What the doctor says of a server: each check finds what it is for, and says what mends it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.doctor import Check, answers, examination, server
from miniagent_redis.runtime.clock import ManualClock
from tests.support.doctor_checks import examine
from tests.support.pasting import paste
from tests.support.proxy import Proxy
from tests.support.servers import NOTHING_KEPT, RedisServer
from tests.support.waiting import until


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
        assert "HELLO" not in checks["reachable"].detail
        plain = ("it asks for a password first", "Authentication required")  # with RESP2
        assert any(words in checks["reachable"].detail for words in plain)
        assert "REDIS_PASSWORD" in checks["reachable"].fix
        assert "redis://:PASSWORD@" in checks["reachable"].fix
        assert examine(f"unix://:secret@{server.socket}")["reachable"].verdict == "ok"


def test_a_slow_server_is_told(store: RedisSessionManager, durable: RedisServer) -> None:
    assert answers.round_trip(store).verdict == "ok"
    with (
        RedisServer("--enable-debug-command", "yes") as slow,
        RedisSessionManager(RedisConfig(url=slow.url)) as other,
    ):
        answers.reachable(other)
        connection = slow.client().connection_pool.get_connection()
        connection.connect()
        connection.send_command("DEBUG", "SLEEP", "0.3")
        check = answers.round_trip(other)
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
    with RedisServer(*NOTHING_KEPT) as server:
        checks = examine(server.url)
        check = checks["persistence"]
        line = f"redis-cli -s {server.socket} CONFIG SET appendonly yes"
        assert (check.verdict, check.fix) == ("fail", line)
        assert check.detail == "memory: a restart of the server loses everything"
        assert checks["settings"].verdict == "warn"
        assert "what CONFIG SET does ends with it" in checks["settings"].detail
        assert checks["settings"].fix.endswith(", too: redis-server --appendonly yes")
        client = server.client()
        paste(check.fix, client)
        check = examine(server.url)["persistence"]
        assert (check.verdict, check.detail.partition(":")[0]) == ("ok", "everysec")
        client.config_set("appendfsync", "always")
        assert examine(server.url)["persistence"].detail.startswith("always: ")
        client.config_set("appendfsync", "no")
        check = examine(server.url)["persistence"]
        assert check.verdict == "warn"
        paste(check.fix, client)
        checks = examine(server.url)
        assert checks["persistence"].verdict == checks["settings"].verdict == "ok"


def test_what_is_set_is_kept_in_the_configuration_file_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "redis.conf"
    file.write_text("maxmemory-policy allkeys-lru\n")
    with RedisServer(config=file) as server:
        checks = examine(server.url)
        assert checks["settings"] == Check("settings", "ok", f"kept in {file}")
        fix = checks["eviction"].fix
        assert fix.endswith(f" && redis-cli -s {server.socket} CONFIG REWRITE")
        paste(fix, server.client())
        assert examine(server.url)["eviction"].verdict == "ok"
    assert "maxmemory-policy noeviction" in file.read_text() or "allkeys" not in file.read_text()


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


def cure(name: str, value: str) -> str:
    return f"set {name} to {value}"


def test_an_append_only_file_that_cannot_be_written_fails() -> None:
    check = server.persistence({"aof_enabled": 1, "aof_last_write_status": "err"}, {}, cure)
    assert check.verdict == "fail"
    assert "room" in check.fix


def test_a_server_that_evicts_fails_until_the_fix_is_made() -> None:
    with RedisServer("--maxmemory-policy", "allkeys-lru") as server:
        words = "allkeys-lru: it may throw away live sessions"
        check = examine(server.url)["eviction"]
        assert (check.verdict, check.detail) == ("fail", f"{words}, once maxmemory is set")
        server.client().config_set("maxmemory", "100mb")
        check = examine(server.url)["eviction"]
        assert (check.verdict, check.detail) == ("fail", words)
        paste(check.fix, server.client())
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
        paste(check.fix, client)
        assert examine(server.url)["memory"].verdict == "ok"


def test_clocks_that_are_apart_are_told(durable: RedisServer) -> None:
    clock = ManualClock()
    assert examine(durable.url, clock=clock)["clock"].verdict == "ok"
    clock.advance(3600)
    check = examine(durable.url, clock=clock)["clock"]
    assert check.verdict == "warn"
    assert re.match(r"the server is 3(600|599|598).\d s behind this machine", check.detail)


def test_a_primary_tells_its_replicas_and_how_far_they_are_behind(tmp_path: Path) -> None:
    with RedisServer(tcp=True) as primary, RedisServer() as replica:
        assert examine(primary.url)["role"].detail == "primary, without replicas"
        replica.client().replicaof("127.0.0.1", primary.port)
        until(
            lambda: primary.client().info("replication").get("slave0", {}).get("state") == "online"
        )
        check = examine(primary.url)["role"]
        assert check.verdict == "ok"
        assert re.fullmatch(r"primary, 1 replica: \d+ s and \d+ bytes behind", check.detail)


@pytest.mark.parametrize(
    "slave", [{"state": "online", "lag": 60}, {"state": "wait_bgsave", "lag": 0}]
)
def test_a_replica_that_is_far_behind_is_told(slave: dict[str, Any]) -> None:
    info = {"role": "master", "connected_slaves": 1, "master_repl_offset": 900, "slave0": slave}
    check = server.role(info)
    assert (check.verdict, "900 bytes behind" in check.detail) == ("warn", True)
    assert server.role({}).verdict == "warn"


def test_slow_scripts_are_told() -> None:
    def latencies(late: float) -> dict[str, Any]:
        return {"latency_percentiles_usec_evalsha": {"p50": 100.0, "p99": 200.0, "p99.9": late}}

    fast = server.scripts(latencies(5000.0))
    assert fast == Check("scripts", "ok", "p50 0.10 ms, p99.9 5.00 ms on the server")
    slow = server.scripts(latencies(250_000.0))
    assert (slow.verdict, "SLOWLOG GET" in slow.fix) == ("warn", True)
    assert server.scripts({}).verdict == "ok"


def test_the_protocol_is_told(durable: RedisServer) -> None:
    assert examine(durable.url)["protocol"].detail == "RESP2"
    with Proxy(durable.socket) as proxy:
        config = RedisConfig(url=proxy.url, protocol=3)
        with RedisSessionManager(config) as store:
            assert answers.protocol(store).detail == "RESP3"
        proxy.answer("-ERR unknown command 'HELLO'\r\n", times=10**6, matching="HELLO")
        with RedisSessionManager(config) as store:
            assert answers.protocol(store).detail.startswith("RESP2: ")
