"""What the doctor says of the data: the findings of fsck, summed up."""

from __future__ import annotations

from doctor_checks import examine
from servers import RedisServer

from miniagent_redis import RedisSessionManager


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
