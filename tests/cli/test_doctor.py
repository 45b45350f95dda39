"""The command ``doctor``: it tells what it found, mends what it may, and ends in time."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.cli import checkup
from miniagent_redis.doctor import examination
from miniagent_redis.doctor.fsck import Finding
from miniagent_redis.doctor.shell import without_password
from tests.support.command_line import Home
from tests.support.servers import RedisServer


def test_a_server_that_is_fit_passes_all_checks(
    home: Home, durable: RedisServer, store: RedisSessionManager
) -> None:
    done = home.run("doctor", "--url", durable.url)
    lines = done.stdout.splitlines()
    assert [line[:4] for line in lines] == ["ok  "] * 20
    assert lines[-1] == "ok    verdict      fit"
    assert lines[0] == f"ok    reachable    {durable.url.partition('?')[0]} answers"
    assert "p50 0." in lines[1]
    assert done.stderr == ""


def test_machines_get_json(home: Home, durable: RedisServer, store: RedisSessionManager) -> None:
    store.client.hset("metadata:{s}", "bytes", 5)
    done = home.run("doctor", "--json", "--url", durable.url, code=3)
    report = json.loads(done.stdout)
    assert (report["healthy"], report["verdict"]) == (False, "fail")
    assert report["summary"] == "not fit: see counters"
    counters = next(check for check in report["checks"] if check["name"] == "counters")
    assert counters["verdict"] == "fail"
    assert counters["fix"] == f"miniagent-redis doctor --repair --url '{durable.url}'"
    (finding,) = counters["findings"]
    assert (finding["kind"], finding["session_id"], finding["repaired"]) == ("counter", "s", False)


def test_repair_mends_and_says_so(
    home: Home, durable: RedisServer, store: RedisSessionManager
) -> None:
    store.client.persist("thread:{s}")
    store.client.persist("ops:{s}")
    done = home.run("doctor", "--url", durable.url, code=3)
    line = r"fail  expiry .* 1 found: ops:\{s\}: it has no TTL  Fix: miniagent-redis (.*)\n"
    told = re.search(line, done.stdout)
    assert told is not None
    repaired = home.run(*shlex.split(told[1])).stdout
    assert re.search(r"ok    expiry .* 1 repaired", repaired)
    assert home.run("doctor", "--url", durable.url).stdout.count("ok ") == 20


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("redis://ada:s3cret@h:1,g:2/x", "redis://ada@h:1,g:2/x"),
        ("rediss://:s3@cret@h?password=s3cret&db=1", "rediss://h?db=1"),
        ("unix:///tmp/a:b@c?db=0", "unix:///tmp/a:b@c?db=0"),
        ("embedded://", "embedded://"),
    ],
)
def test_what_is_to_be_typed_names_the_server_and_no_password(url: str, told: str) -> None:
    assert without_password(url) == told


def test_the_data_can_be_left_out(
    home: Home, durable: RedisServer, store: RedisSessionManager
) -> None:
    store.client.hset("metadata:{s}", "bytes", 5)
    lines = home.run("doctor", "--no-data", "--url", durable.url).stdout.splitlines()
    assert [line[:4] for line in lines] == ["ok  "] * 13 + ["skip", "ok  "]
    names = "expiry, records, indexes, counters, open turns, sessions"
    assert lines[-2] == f"skip  not checked  {names}: the data is left out"
    assert lines[-1] == "ok    verdict      fit; 6 of 19 not checked"


def test_nothing_is_written_when_it_may_not_be(
    home: Home, durable: RedisServer, store: RedisSessionManager
) -> None:
    before = durable.client().info("persistence")["rdb_changes_since_last_save"]
    done = home.run("doctor", "--no-turn", "--url", durable.url)
    assert "skip  not checked  turn: it would write\n" in done.stdout
    assert durable.client().info("persistence")["rdb_changes_since_last_save"] == before


def test_who_wants_the_data_mended_cannot_leave_it_out(home: Home) -> None:
    done = home.run("doctor", "--repair", "--no-data", code=2)
    assert "--repair mends the data, and --no-data leaves it alone: drop one." in done.stderr


def test_what_takes_long_is_told_on_stderr_line_by_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    durable: RedisServer,
    store: RedisSessionManager,
) -> None:
    monkeypatch.setattr(checkup, "_TO_LOGS", 0)
    config = RedisConfig(url=durable.url)
    assert checkup.report_health(config, repair=False, with_data=True, as_json=True)
    printed = capsys.readouterr()
    assert "1 sessions looked at" in printed.err.splitlines()
    assert json.loads(printed.out)["healthy"]


def test_a_line_is_printed_before_the_next_check_is_made(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    durable: RedisServer,
    store: RedisSessionManager,
) -> None:
    seen: list[str] = []

    def look(*_: object, **__: object) -> list[Finding]:
        seen.extend(capsys.readouterr().out.splitlines())
        return []

    monkeypatch.setattr(examination, "fsck", look)
    config = RedisConfig(url=durable.url)
    assert checkup.report_health(config, repair=False, with_data=True, as_json=False)
    assert [line.split()[1] for line in seen][-1] == "turn"


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
    skipped, last = others
    assert re.fullmatch(r"skip  not checked  round trip, (\w+, ){10}turn, .*, sessions", skipped)
    assert last == "fail  verdict      not fit: see reachable; 18 of 19 not checked"


def test_a_server_that_hangs_is_told_in_two_seconds(home: Home) -> None:
    with RedisServer() as server:
        server.pause()
        done, seconds = timed(home, server.url)
        assert seconds < 2
        assert done.stdout.startswith("fail  reachable    no Redis answers")
        assert "not fit: see reachable; 18 of 19 not checked" in done.stdout


def test_memory_says_that_nothing_is_kept_and_claims_nothing_else(home: Home) -> None:
    done = home.run("doctor", "--url", "memory://")
    assert "warn  persistence  memory: nothing is kept" in done.stdout
    names = "protocol, version, role, eviction, memory, settings, scripts, rights, clock, sessions"
    assert f"skip  not checked  {names}: memory:// is in this process" in done.stdout
    assert "ok    turn  " in done.stdout


def test_the_embedded_server_is_shown_with_its_folder(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    url = f"embedded://{folder}"
    last = home.run("doctor", "--url", url).stdout.splitlines()[-2]
    assert re.fullmatch(
        rf"ok    embedded server  {folder}, process \d+, append-only file of \d\.\d MB, mode 700",
        last,
    )
    folder.chmod(0o755)
    last = home.run("doctor", "--url", url).stdout.splitlines()[-2]
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
