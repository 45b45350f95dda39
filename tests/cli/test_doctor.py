"""The command ``doctor``: it tells what it found, mends what it may, and ends in time."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from programs import Home
from servers import RedisServer

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.diagnosis import examination


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
