"""What the doctor says of a user's rights: what is missing is told, and the fix is enough."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doctor_checks import examine, verdicts
from servers import RedisServer

import miniagent_redis
from miniagent_redis import RedisConfig, RedisSessionManager
from miniagent_redis.diagnosis import diagnose, rights
from miniagent_redis.keys import Keys

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
