"""Held locks are renewed in the background, by whoever has them, and tell when they are lost."""

from __future__ import annotations

import os
import traceback

import pytest
import redis

from miniagent_redis import SessionAgent
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.servers import RedisServer
from tests.support.waiting import until

Store = RedisSessionManager


def test_a_held_lock_is_renewed_after_a_third_of_its_ttl(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    for lock_name in "ab":
        assert store.acquire_lock(lock_name, ttl=30)
        client.expire(f"lock:{{{lock_name}}}", 5)
    clock.advance(9)
    store.parts.locks.renew()
    assert client.ttl("lock:{a}") <= 5  # type: ignore[operator]
    clock.advance(1)
    store.parts.locks.renew()
    for lock_name in "ab":
        assert client.ttl(f"lock:{{{lock_name}}}") > 25  # type: ignore[operator]


def test_what_was_given_back_or_forgotten_is_not_renewed(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    given_back, forgotten = store.lock("a"), store.lock("b")
    assert given_back.acquire()
    assert forgotten.acquire()
    assert given_back.release()
    del forgotten
    client.expire("lock:{b}", 5)
    clock.advance(20)
    store.parts.locks.renew()
    assert not store.is_locked("a")
    assert client.ttl("lock:{b}") <= 5  # type: ignore[operator]


def test_a_lock_that_is_lost_tells(
    store: Store, client: redis.Redis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    lock = store.lock("a")
    assert not lock.is_lost
    with lock:
        client.set("lock:{a}", "somebody else")
        assert not lock.is_lost  # as far as anybody knows here
        clock.advance(10)
        store.parts.locks.renew()
        assert lock.is_lost
        assert "the lock '{a}' was lost while it was held" in caplog.text
        caplog.clear()
        clock.advance(10)
        store.parts.locks.renew()
        assert caplog.text == ""
        assert not lock.extend()
    assert not lock.is_lost
    assert client.get("lock:{a}") == b"somebody else"
    client.delete("lock:{a}")
    with lock:
        assert not lock.is_lost


def test_a_lock_whose_ttl_passed_unrenewed_may_be_lost_until_it_is_extended(
    store: Store, clock: ManualClock
) -> None:
    with store.lock("a", ttl=2) as lock:
        clock.advance(2)
        assert lock.is_lost
        assert lock.extend()
        assert not lock.is_lost


def test_a_lock_outlives_an_outage_shorter_than_its_ttl(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    with RedisServer() as server:
        config = RedisConfig(url=server.url, socket_timeout=0.2)
        with Store(config, clock=clock) as store, store.lock("a", ttl=100) as lock:
            clock.advance(40)
            server.pause()
            store.parts.locks.renew()
            assert "the lock '{a}' was not renewed" in caplog.text
            assert not lock.is_lost
            server.resume()
            until(store.health_check)
            clock.advance(40)
            store.parts.locks.renew()
            clock.advance(40)
            assert not lock.is_lost


def test_an_open_agent_keeps_the_locks_of_its_process(redis_url: str) -> None:
    with SessionAgent(redis_config=RedisConfig(url=redis_url)) as agent:
        other = agent.store.client
        with agent.store.lock("a", ttl=2) as lock:
            seen = set()
            for _ in range(3):  # each time that it would have ended
                until(lambda: other.pttl("lock:{a}") < 1300)
                until(lambda: other.pttl("lock:{a}") > 1300)
                seen.add(other.get("lock:{a}"))
            assert len(seen) == 1
            assert not lock.is_lost
        assert not agent.store.is_locked("a")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_neither_has_nor_renews_nor_frees_the_locks_of_its_parent(
    redis_url: str,
) -> None:
    clock = ManualClock()
    with Store(RedisConfig(url=redis_url), clock=clock) as store:
        lock = store.lock("a", ttl=100)
        with lock:
            assert store.acquire_lock("b")
            store.client.expire("lock:{a}", 50)
            child = os.fork()
            if child == 0:
                right = False
                try:
                    clock.advance(60)
                    store.parts.locks.renew()
                    right = not (
                        lock.is_lost
                        or lock.extend()
                        or lock.acquire(timeout=0)
                        or store.release_lock("b")
                        or lock.release()
                    )
                    store.disconnect()
                except BaseException:
                    traceback.print_exc()  # for the report of this test
                    right = False
                finally:
                    os._exit(0 if right else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert store.client.ttl("lock:{a}") <= 50  # type: ignore[operator]
            assert lock.extend()
        assert store.release_lock("b")
