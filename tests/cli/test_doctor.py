"""The command ``doctor``: each check finds what it is for, and says what mends it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Home
from servers import RedisServer

import miniagent_redis
from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.clock import ManualClock
from miniagent_redis.diagnosis import Check, diagnose, examination, rights, server
from miniagent_redis.keys import Keys

DURABLE = ("--appendonly", "yes")
PACKAGE = Path(miniagent_redis.__path__[0])


def examine(url: str, **options: Any) -> dict[str, Check]:
    store = RedisSessionManager(RedisConfig(url=url), **options)
    try:
        return {check.name: check for check in diagnose(store)}
    finally:
        store.disconnect()


def verdicts(checks: dict[str, Check]) -> set[str]:
    return {check.verdict for check in checks.values()}


@pytest.fixture(scope="module")
def durable() -> Iterator[RedisServer]:
    """Yield a server as it should be."""
    with RedisServer(*DURABLE) as server:
        yield server


@pytest.fixture
def store(durable: RedisServer) -> Iterator[RedisSessionManager]:
    """Yield the emptied store of that server, with one session."""
    with RedisSessionManager(RedisConfig(url=durable.url)) as store:
        store.client.flushdb()
        store.create_session("s", user_id="ada")
        yield store


def test_a_server_that_is_fit_passes_all_checks(
    home: Home, durable: RedisServer, store: RedisSessionManager
) -> None:
    done = home.run("doctor", "--url", durable.url)
    lines = done.stdout.splitlines()
    assert [line[:4] for line in lines] == ["ok  "] * 13
    assert lines[0] == f"ok    reachable    {durable.url.partition('?')[0]} answers"
    assert "p50 0." in lines[1]
    assert done.stderr == ""


def test_machines_get_json(home: Home, durable: RedisServer, store: RedisSessionManager) -> None:
    store.client.hset("metadata:{s}", "bytes", 5)
    done = home.run("doctor", "--json", "--url", durable.url, code=3)
    report = json.loads(done.stdout)
    assert report["healthy"] is False
    counters = next(check for check in report["checks"] if check["name"] == "counters")
    assert counters["verdict"] == "fail"
    assert counters["fix"] == "miniagent-redis doctor --repair"
    (finding,) = counters["findings"]
    assert (finding["kind"], finding["session_id"], finding["repaired"]) == ("counter", "s", False)


def test_repair_mends_and_says_so(
    home: Home, durable: RedisServer, store: RedisSessionManager
) -> None:
    store.client.persist("thread:{s}")
    store.client.persist("ops:{s}")
    done = home.run("doctor", "--url", durable.url, code=3)
    line = (
        r"fail  expiry .* 1 found: ops:\{s\}: it has no TTL  Fix: miniagent-redis doctor --repair"
    )
    assert re.search(line, done.stdout)
    assert re.search(r"ok    expiry .* 1 repaired", home.run(
        "doctor", "--repair", "--url", durable.url).stdout)  # fmt: skip
    assert home.run("doctor", "--url", durable.url).stdout.count("ok ") == 13


def timed(home: Home, url: str) -> tuple[Any, float]:
    """Run the doctor, which finds faults; return the seconds without those of starting at all."""
    times = [time.monotonic()]
    home.run("list")
    times.append(time.monotonic())
    done = home.run("doctor", "--url", url, code=3)
    return done, time.monotonic() - times[1] - (times[1] - times[0])


def test_a_server_that_is_down_is_told_at_once_and_nothing_else_is_claimed(home: Home) -> None:
    with RedisServer(tcp=True) as server:
        url = server.url
    done, seconds = timed(home, url)
    assert seconds < 1
    first, *others = done.stdout.splitlines()
    assert first.startswith("fail  reachable    no Redis answers at redis://127.0.0.1:")
    assert "refused" in first
    assert "Fix: start it (redis-server)" in first
    assert len(others) == 12
    assert all(re.fullmatch(r"skip  \w+(?: \w+)? +not checked", line) for line in others)


def test_a_server_that_hangs_is_told_in_two_seconds(home: Home) -> None:
    with RedisServer() as server:
        server.pause()
        done, seconds = timed(home, server.url)
        assert seconds < 2
        assert done.stdout.startswith("fail  reachable    no Redis answers")
        assert done.stdout.count("not checked") == 12


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
        deadline = time.monotonic() + 20
        while client.info("persistence")["rdb_last_bgsave_status"] == "ok":
            assert time.monotonic() < deadline
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


USERS = {
    "no scripts": "~* &* +@all -evalsha",
    "no publishing": "~* &* +@all -publish",
    "other keys": "~cache:* &* +@all",
    "other channels": "~* resetchannels +@all",
    "no streams": "~* &* +@all -@stream",
    "neither rights nor questions": "~* resetchannels +@all -@admin -@dangerous -publish -acl",
}


@pytest.mark.parametrize("user", USERS)
def test_missing_rights_are_told_until_the_fix_is_made(
    durable: RedisServer, store: RedisSessionManager, user: str
) -> None:
    client = durable.client()
    client.execute_command("ACL", "SETUSER", "bo", "reset", "on", ">pw", *USERS[user].split())
    url = f"unix://bo:pw@{durable.socket}"
    check = examine(url)["rights"]
    assert check.verdict == "fail", check
    assert "permission" in check.detail or "access" in check.detail
    assert check.fix.startswith("ACL SETUSER bo ")
    client.execute_command(*check.fix.split())
    assert examine(url)["rights"].verdict in ("ok", "warn")


def test_a_user_who_may_do_only_what_we_need_has_the_rights(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    """The fix that is told is enough, also for the whole life of a session."""
    client = durable.client()
    words = "ACL SETUSER cleo reset on >pw +ping +@connection"
    client.execute_command(*words.split(" "))
    config = RedisConfig(url=f"unix://cleo:pw@{durable.socket}", namespace="acme")
    with RedisSessionManager(config) as acme:
        told = rights.rights(acme)
        assert told.verdict == "fail"
        assert "~acme:*" in told.fix
        client.execute_command(*told.fix.split(" "))
        acme.create_session("s", user_id="ada")
        acme.commit_turn(acme.begin_turn("s", "Hi"), [])
        acme.subscribe(["news"])
        with acme.lock("work"):
            acme.cache_set("a", 1)
        assert acme.rate_limit("ada", max_requests=1, window=60)
        assert len(acme.list_sessions("ada")) == 1
        checks = {check.name: check for check in diagnose(acme)}
        assert checks["rights"].verdict == "warn"
        assert "ACL DRYRUN is forbidden" in checks["rights"].detail
        assert acme.delete_session("s")


def test_where_config_is_forbidden_the_checks_say_so_and_do_not_fail(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    client = durable.client()
    words = "ACL SETUSER dan reset on >pw ~* &* +@all -config"
    client.execute_command(*words.split(" "))
    url = f"unix://dan:pw@{durable.socket}"
    check = examine(url)["persistence"]
    assert (check.verdict, "CONFIG is forbidden" in check.detail) == ("warn", True)
    client.execute_command("ACL", "SETUSER", "dan", "-info", "-scan")
    checks = examine(url)
    assert checks["version"].verdict == "warn"
    assert "not checked: " in checks["version"].detail
    assert "info" in checks["version"].detail
    assert checks["eviction"].verdict == "skip"
    assert checks["rights"].verdict == "ok"
    assert (checks["expiry"].verdict, "scan" in checks["expiry"].detail) == ("warn", True)
    assert "fail" not in verdicts(checks)


def test_every_command_of_the_scripts_is_among_those_asked_for() -> None:
    asked = {str(command[0]) for command in rights.commands(Keys())}
    sent = {
        name
        for path in (PACKAGE / "lua").glob("*.lua")
        for name in re.findall(r"redis\.call\('(\w+)'", path.read_text("utf-8"))
    }
    assert sent - asked == set()


def test_clocks_that_are_apart_are_told(durable: RedisServer) -> None:
    clock = ManualClock()
    assert examine(durable.url, clock=clock)["clock"].verdict == "ok"
    clock.advance(3600)
    check = examine(durable.url, clock=clock)["clock"]
    assert check.verdict == "warn"
    assert re.match(r"the server is 3(600|599|598).\d s behind this machine", check.detail)


def test_faults_in_the_data_are_summed_up(durable: RedisServer, store: RedisSessionManager) -> None:
    store.begin_turn("s", "Hello?")
    store.client.hset("metadata:{s}", "lease", 1)
    store.client.set("cache:x", 1)
    store.client.set("cache:y", 1)
    store.client.zrem("user:{ada}:sessions", "s")
    store.client.zadd("user:{bo}:sessions", {"gone": 1})
    store.client.rpush("thread:{s}", "{")
    checks = examine(durable.url)
    assert checks["expiry"].verdict == "fail"
    assert checks["expiry"].detail.startswith("3 found: ")
    assert checks["records"].verdict == "fail"
    assert "1 of 1 records cannot be read" in checks["records"].detail
    assert checks["indexes"].verdict == "fail"
    assert len(checks["indexes"].findings) == 2
    assert checks["counters"].verdict == "fail"
    assert checks["open turns"].verdict == "warn"
    assert "has had no holder for" in checks["open turns"].detail


def test_an_entry_without_a_session_is_only_a_warning(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    store.client.zadd("user:{bo}:sessions", {"gone": 1})
    assert examine(durable.url)["indexes"].verdict == "warn"


def test_memory_says_that_nothing_is_kept_and_claims_nothing_else(home: Home) -> None:
    done = home.run("doctor", "--url", "memory://")
    assert "warn  persistence  memory: nothing is kept" in done.stdout
    for name in ("version", "eviction", "memory", "rights", "clock"):
        assert re.search(rf"^skip  {name} +not checked: ", done.stdout, re.MULTILINE)


def test_the_embedded_server_is_shown_with_its_folder(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    url = f"embedded://{folder}"
    last = home.run("doctor", "--url", url).stdout.splitlines()[-1]
    assert re.fullmatch(
        rf"ok    embedded server  {folder}, process \d+, append-only file of \d\.\d MB, mode 700",
        last,
    )
    folder.chmod(0o755)
    last = home.run("doctor", "--url", url).stdout.splitlines()[-1]
    assert last.startswith("warn  embedded server")
    assert "others could enter until now (mode 755), which is closed" in last
    assert folder.stat().st_mode & 0o777 == 0o700


def test_an_embedded_folder_that_others_may_enter_fails(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with RedisSessionManager(RedisConfig(url=f"embedded://{folder}")) as store:
        folder.chmod(0o750)
        check = examination.embedded_server(store, 0o700)
    assert (check.verdict, check.fix) == ("fail", f"chmod 700 {folder}")


def test_help_tells_the_exit_code(home: Home) -> None:
    assert "3    unhealthy" in home.run("--help").stdout
    assert "3 if a check failed" in " ".join(home.run("doctor", "--help").stdout.split())
