"""What the doctor says of Sentinels and of who could take over, on real ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from miniagent_redis import RedisConfig
from miniagent_redis.doctor import server
from miniagent_redis.doctor.shell import redis_cli
from tests.support.doctor_checks import examine, verdicts
from tests.support.sentinels import Watched
from tests.support.waiting import until


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with Watched("--appendonly", "yes") as watched:
        yield watched


def test_three_sentinels_and_two_replicas_are_fine(watched: Watched) -> None:
    checks = examine(watched.url)
    assert checks["sentinels"].verdict == "ok"
    assert checks["sentinels"].detail == "3 of 3 answer, and can agree on a failover"
    assert checks["replicas"].verdict == "ok"
    assert checks["replicas"].detail == "2 of 2 replicas in step"
    assert "fail" not in verdicts(checks)


def test_lines_for_a_shell_name_the_master_itself(watched: Watched) -> None:
    line = redis_cli(RedisConfig(url=watched.url), "PING")
    assert line == f"redis-cli -h 127.0.0.1 -p {watched.named.port} PING"


def test_a_user_needs_the_right_to_ask_for_the_role(watched: Watched) -> None:
    master = watched.client(watched.named)
    master.acl_setuser("app", enabled=True, passwords=["+pw"], categories=["+@all"],
                       commands=["-role"], keys=["*"], channels=["*"])  # fmt: skip
    url = watched.url.replace("://", "://app:pw@")
    check = examine(url)["reachable"]
    assert check.verdict == "fail"
    assert "role" in check.detail
    assert "+role" in check.fix.split()
    master.acl_setuser("app", enabled=True, commands=["+role"])
    assert examine(url)["rights"].verdict == "ok"


def test_a_sentinel_that_is_down_is_told(watched: Watched) -> None:
    second = watched.sentinels[1]
    second.kill()
    try:
        check = examine(watched.url)["sentinels"]
        assert check.verdict == "warn"
        assert "2 of 3 answer" in check.detail
        assert f"127.0.0.1:{second.port}" in check.detail
    finally:
        second.start()
    until(watched.is_settled)


def test_without_a_majority_of_sentinels_it_fails(watched: Watched) -> None:
    def is_told() -> bool:
        """Tell if it says so now: a Sentinel that tries to reach the dead ones takes it back."""
        check = examine(watched.url)["sentinels"]
        return check.verdict == "fail" and "NOQUORUM" in check.detail

    others = watched.sentinels[1:]
    for one in others:
        one.kill()
    try:
        until(is_told)
    finally:
        for one in others:
            one.start()
    until(watched.is_settled)


def test_replicas_out_of_step_are_told_and_none_at_all_fails(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = ({"state": "online", "lag": lag} for lag in (1, 11))
    assert server.in_step({"connected_slaves": 2, "slave0": near, "slave1": far}) == 1
    with monkeypatch.context() as patch:
        patch.setattr(server, "_FAR", -1)
        check = examine(watched.url)["replicas"]
        assert (check.verdict, check.detail) == ("fail", "2 replicas, none of them in step")
    one, other = (each for each in watched.servers if each is not watched.named)
    master = watched.client(watched.named)
    one.kill()
    other.kill()
    until(lambda: not master.info("replication")["connected_slaves"])
    check = examine(watched.url)["replicas"]
    assert (check.verdict, check.detail) == ("fail", "none, so nobody can take over")
    assert check.fix
