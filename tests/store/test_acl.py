"""The least rights: enough for all that the library does, and for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from miniagent_redis.config import RedisConfig
from miniagent_redis.doctor import diagnose
from miniagent_redis.errors import InvalidInput, StoreMisconfigured
from miniagent_redis.models import Message
from miniagent_redis.store.acl import COMMANDS, DOCTORS, acl_rule
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.servers import RedisServer
from tests.support.topologies import least_rights

USER = "acme-app"


@pytest.fixture
def acme_url(redis_server: RedisServer, redis_url: str) -> Iterator[str]:
    """Yield the url of the shared server for a user who has the rule of the namespace acme."""
    yield least_rights(redis_server, USER, "acme")
    redis_server.client().execute_command("ACL", "DELUSER", USER)


def is_allowed(client: redis.Redis, *command: str) -> bool:
    answer = client.execute_command("ACL", "DRYRUN", USER, *command)
    return answer in ("OK", b"OK")


def test_whoever_has_the_rule_of_a_namespace_can_do_what_the_library_does(acme_url: str) -> None:
    with RedisSessionManager(RedisConfig(url=acme_url, namespace="acme")) as store:
        store.create_session("s", {"a": 1}, user_id="ada")
        store.update_session("s", {"a": 2})
        store.commit_turn(store.begin_turn("s", "Hi"), [Message("assistant", "Hello")])
        store.abort_turn(store.begin_turn("s", "Wait"))
        store.create_session("copy")
        store.copy_thread("s", "copy")
        store.truncate_thread("s", 1)
        assert store.renew_session_id("copy") != "copy"
        store.clear_thread("s")
        assert [event.type for event in store.read_events("s")]
        store.subscribe(["news"])
        store.publish("news", "hear")
        with store.lock("work") as lock:
            lock.extend()
        assert store.cache_get_or_set("k", lambda: 1, ttl=60) == 1
        assert store.rate_limit("ada", max_requests=1, window=60)
        assert len(store.list_sessions("ada")) == 1
        assert store.usage().turns == 0
        assert store.sweep() == 0
        assert store.health_check()
        verdicts = {check.name: check.verdict for check in diagnose(store)}
        assert "fail" not in {verdicts[name] for name in verdicts if name != "persistence"}
        assert verdicts["rights"] == verdicts["turn"] == verdicts["expiry"] == "ok"
        assert store.delete_session("s")


@pytest.mark.usefixtures("acme_url")
def test_every_command_outside_the_rule_is_refused(redis_server: RedisServer) -> None:
    admin: Any = redis_server.client()
    told = admin.execute_command("ACL", "GETUSER", USER)
    fields = told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
    rule: Any = fields.get("commands", fields.get(b"commands"))
    given = {word[1:] for word in (rule.decode() if isinstance(rule, bytes) else rule).split()}
    assert given == {"@all", *COMMANDS, *DOCTORS}  # it is "-@all", and then each of them
    dangerous = {one.decode() for one in admin.execute_command("ACL", "CAT", "dangerous")}
    assert {"flushall", "flushdb", "keys", "sort"} <= dangerous
    assert given & dangerous <= {"info", "acl|whoami", "acl|dryrun"}


@pytest.mark.parametrize(
    "command",
    ["GET beta:session:{s}", "GET session:{s}", "SET acmes:x 1", "DEL acme", "HGETALL beta:x",
     "EVAL x 1 beta:x", "PUBLISH beta:news x", "SUBSCRIBE session_updates", "SUBSCRIBE db1:acme:x",
     "FLUSHALL", "FLUSHDB", "KEYS *", "RANDOMKEY", "CONFIG GET x", "DEBUG SLEEP 1", "SWAPDB 0 1",
     "MONITOR", "SHUTDOWN", "SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION FLUSH", "ACL LIST",
     "ACL SETUSER x", "CLIENT LIST", "CLIENT KILL ID 1", "PUBSUB CHANNELS", "PSUBSCRIBE *",
     "DUMP acme:x", "MIGRATE h 1 acme:x 0 1", "REPLICAOF NO ONE", "SORT acme:x",
     "RENAME acme:x acme:y"],
)  # fmt: skip
@pytest.mark.usefixtures("acme_url")
def test_what_is_not_of_the_namespace_or_not_needed_is_refused(
    redis_server: RedisServer, command: str
) -> None:
    assert not is_allowed(redis_server.client(), *command.split())


def test_another_namespace_is_refused(acme_url: str, redis_server: RedisServer) -> None:
    beta = RedisSessionManager(RedisConfig(url=acme_url, namespace="beta"))
    with beta, pytest.raises(StoreMisconfigured, match=r"permissions|access"):
        beta.create_session("s")
    assert redis_server.client().keys("beta:*") == []


def test_without_the_doctor_the_rule_is_shorter_and_shows_no_names_of_others() -> None:
    short = acl_rule("acme", doctor=False)
    assert short[:2] == ["~acme:*", "&acme:*"]
    assert set(acl_rule("acme")) - set(short) == {f"+{one}" for one in DOCTORS}
    assert acl_rule()[:2] == ["~*", "&*"]


def test_what_is_no_namespace_has_no_rule() -> None:
    with pytest.raises(InvalidInput, match="namespace"):
        acl_rule("acme* ~*")
