"""What the doctor says of the data: the findings of fsck, summed up."""

from __future__ import annotations

import pytest

from miniagent_redis import Message, RedisConfig, RedisSessionManager
from miniagent_redis.doctor import sizes
from miniagent_redis.store import moving
from tests.support.doctor_checks import examine
from tests.support.servers import RedisServer


def test_faults_in_the_data_are_summed_up(durable: RedisServer, store: RedisSessionManager) -> None:
    store.begin_turn("s", "Hello?")
    store.client.hset("metadata:{s}", "lease", 1)
    for key in ("x", "y"):
        store.cache_set(key, 1)
        store.client.persist(f"cache:{key}")
    store.client.zrem("user:{ada}:sessions", "s")
    store.client.zadd("user:{ada}:sessions", {"gone": 1})
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
    store.client.zadd("user:{ada}:sessions", {"gone": 1})
    assert examine(durable.url)["indexes"].verdict == "warn"


def test_a_copy_that_is_under_way_or_broke_off_is_no_fault(
    durable: RedisServer, store: RedisSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    store.append_to_thread("s", Message("user", "Hi"))
    monkeypatch.setattr(moving, "move_session", die)
    with pytest.raises(KeyboardInterrupt):
        store.fork_session("s", new_id="branch")
    assert store.client.exists("thread:{branch}")
    checks = examine(durable.url)
    assert [checks[name].verdict for name in ("records", "counters", "expiry")] == ["ok"] * 3


def test_the_biggest_sessions_are_told(durable: RedisServer, store: RedisSessionManager) -> None:
    store.delete_session("s")
    assert sizes.sessions(store).detail == "none"
    for number, length in enumerate((1000, 200_000, 10, 30_000)):
        store.create_session(f"s{number}")
        store.append_to_thread(f"s{number}", Message("user", "x" * length))
    store.create_session("ended")
    store.client.delete("session:{ended}")
    told: list[str] = []
    check = sizes.sessions(store, told.append)
    assert check.verdict == "ok"
    assert check.detail.startswith("4 alive, the biggest s1: ")
    assert [part.partition(":")[0] for part in check.detail.split(", ")[2:]] == ["s3", "s0"]
    assert told[-1] == "4 sessions measured"


def test_a_session_that_takes_more_than_it_should_is_told(
    durable: RedisServer, store: RedisSessionManager
) -> None:
    store.append_to_thread("s", Message("user", "x" * 400_000))
    config = RedisConfig(url=durable.url, max_session_size=1000)
    with RedisSessionManager(config) as small:
        check = sizes.sessions(small)
    assert check.verdict == "warn"
    assert check.fix.startswith("end it")


def test_many_sessions_are_measured_a_hundred_at_a_time(
    monkeypatch: pytest.MonkeyPatch, durable: RedisServer, store: RedisSessionManager
) -> None:
    monkeypatch.setattr(sizes, "_TOGETHER", 3)
    for number in range(50):
        store.create_session(f"s{number}")
    assert sizes.sessions(store).detail.startswith("51 alive, ")
