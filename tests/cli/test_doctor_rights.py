"""What the doctor says of a user's rights: what is missing is told, and the fix is enough."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import redis_lock

import miniagent_redis
from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.doctor import diagnose, rights
from miniagent_redis.doctor.shell import redis_cli
from miniagent_redis.store.acl import acl_rule
from miniagent_redis.store.keys import Keys
from tests.support.doctor_checks import examine, verdicts
from tests.support.pasting import paste
from tests.support.servers import RedisServer

PACKAGE = Path(miniagent_redis.__path__[0])
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
    paste(check.fix, client)
    checks = examine(url)
    assert checks["rights"].verdict == checks["turn"].verdict == "ok"


def test_a_user_who_may_do_only_what_we_need_has_the_rights(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    """The fix that is told is enough, also for the whole life of a session, and for the doctor."""
    client = durable.client()
    client.execute_command("ACL", "SETUSER", "cleo", "reset", "on", ">pw")
    url = f"unix://cleo:pw@{durable.socket}?db=1"
    config = RedisConfig(url=url, namespace="acme")
    acme = RedisSessionManager(config)
    told = diagnose(acme)[0]  # he may not even PING
    assert (told.name, told.verdict) == ("reachable", "fail")
    assert "~acme:*" in told.fix
    assert "pw" not in told.fix
    paste(told.fix, client)
    with acme:
        acme.create_session("s", user_id="ada")
        acme.commit_turn(acme.begin_turn("s", "Hi"), [])
        acme.subscribe(["news"])
        acme.publish("news", "hear")
        with acme.lock("work") as lock:
            lock.extend()
            acme.cache_set("a", 1)
        assert acme.rate_limit("ada", max_requests=1, window=60)
        assert len(acme.list_sessions("ada")) == 1
        assert acme.health_check()
        verdicts = {check.name: check.verdict for check in diagnose(acme)}
        assert {name for name, verdict in verdicts.items() if verdict != "ok"} == {"persistence"}
        assert acme.delete_session("s")


def test_who_may_not_ask_for_his_rights_can_mend_that_by_what_is_told(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    client = durable.client()
    words = "ACL SETUSER eve reset on >pw ~* &* +@all -@admin -@dangerous"
    client.execute_command(*words.split(" "))
    url = f"unix://eve:pw@{durable.socket}"
    checks = examine(url)
    assert (checks["rights"].verdict, checks["version"].verdict) == ("warn", "skip")
    assert "ACL DRYRUN is forbidden" in checks["rights"].detail
    assert checks["version"].fix == checks["rights"].fix
    paste(checks["rights"].fix, client)
    checks = examine(url)
    assert checks["rights"].verdict == checks["version"].verdict == "ok"


@pytest.mark.parametrize(
    "rule",
    ["resetkeys ~session:* ~thread:* ~turn:* ~metadata:* ~ops:* ~events:* ~usage:*",
     "resetchannels &events:*", "resetkeys ~[^l]*", "resetkeys ~[^c]*", "resetkeys ~[^r]*"],
)  # fmt: skip
def test_keys_and_channels_that_are_forbidden_are_found_without_asking_for_rights(
    durable: RedisServer, store: RedisSessionManager, rule: str
) -> None:
    client = durable.client()
    words = f"ACL SETUSER fay reset on >pw ~* &* +@all -@admin -@dangerous {rule}"
    client.execute_command(*words.split(" "))
    before = sorted(client.keys())
    check = examine(f"unix://fay:pw@{durable.socket}")["rights"]
    assert check.verdict == "fail"
    assert "access" in check.detail
    assert sorted(client.keys()) == before
    paste(check.fix, client)
    assert examine(f"unix://fay:pw@{durable.socket}")["rights"].verdict == "ok"


def test_who_may_not_ask_and_has_all_rights_in_a_namespace_is_told_of_none_that_lack(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    rule = ["reset", "on", ">pw", *acl_rule("acme", doctor=False)]
    durable.client().execute_command("ACL", "SETUSER", "ivy", *rule)
    config = RedisConfig(url=f"unix://ivy:pw@{durable.socket}", namespace="acme")
    with RedisSessionManager(config) as acme:
        check = {one.name: one for one in diagnose(acme)}["rights"]
    assert check.verdict == "warn", check
    assert "ACL DRYRUN is forbidden" in check.detail


@pytest.mark.parametrize(
    "url", ["redis://h:1", "redis://bo:secret@h:1", "rediss://:secret@[::1]:2"]
)
def test_a_line_for_the_shell_never_holds_a_password(url: str) -> None:
    own, admins = (redis_cli(RedisConfig(url=url), "PING", as_admin=each) for each in (False, True))
    assert "secret" not in own + admins
    assert ("$REDIS_PASSWORD" in own) == ("secret" in url)
    assert ("--user bo" in own, "--user" in admins) == ("bo:" in url, False)
    assert shlex.split(own)[-1] == "PING"


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
    for name, command in {"version": "info", "eviction": "info", "expiry": "scan"}.items():
        assert checks[name].verdict == "skip"
        assert checks[name].detail.startswith("not checked: ")
        assert f"'{command}'" in checks[name].detail
        assert "ACL SETUSER dan " in checks[name].fix
    assert checks["rights"].verdict == "ok"
    assert "fail" not in verdicts(checks)


def test_every_command_of_the_scripts_is_among_those_asked_for() -> None:
    asked = {str(command[0]) for command in rights.commands(Keys())}
    sent = {
        name
        for path in (PACKAGE / "lua").glob("*.lua")
        for name in re.findall(r"redis\.p?call\('(\w+)'", path.read_text("utf-8"))
    }
    for script in (redis_lock.UNLOCK_SCRIPT, redis_lock.EXTEND_SCRIPT):
        sent |= {name.upper() for name in re.findall(r'redis.call."(\w+)"', script.decode())}
    assert {"EXPIRE", "LPUSH"} <= sent
    assert sent - asked == set()


def test_a_line_for_the_shell_leads_to_the_server_in_whatever_way_it_is_reached(
    tmp_path: Path,
) -> None:
    tls = RedisConfig(host="h", port=1, ssl=True, ssl_ca_certs="/ca", ssl_certfile="/a b")
    assert redis_cli(tls, "PING") == "redis-cli -h h -p 1 --tls --cacert /ca --cert '/a b' PING"
    with RedisSessionManager(RedisConfig(url=f"embedded://{tmp_path / 'data'}")) as store:
        line = redis_cli(store.config, "CONFIG", "SET", "appendfsync", "always")
        assert redis_cli(store.config, "PING").endswith(".sock PING")
        paste(line, store.client)
