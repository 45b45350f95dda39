"""Named locks: one holder at a time, by any name, that end by themselves."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest
import redis
from lossy_proxy import LossyProxy
from servers import RedisServer
from talk import OpenStore, until

from miniagent_redis import SessionAgent
from miniagent_redis.clock import ManualClock
from miniagent_redis.config import RedisConfig
from miniagent_redis.errors import InvalidInput, LockTimeout
from miniagent_redis.store.manager import RedisSessionManager

Store = RedisSessionManager
NAMES = ["a", "{}*", "a b\n\x00", "\ud800", "é" * 1000, "x" * 10_000, "lock:a"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name)[:12])
def test_a_lock_keeps_others_out_until_it_is_given_back(
    store: Store, open_store: OpenStore, name: str
) -> None:
    other = open_store()
    with store.lock(name):
        assert store.is_locked(name)
        assert other.is_locked(name)
        assert not other.acquire_lock(name)
        assert not store.acquire_lock(name)
    assert not other.is_locked(name)
    assert other.acquire_lock(name)
    assert not store.acquire_lock(name)
    assert other.release_lock(name)
    assert not store.is_locked(name)


def test_different_names_are_different_locks(store: Store) -> None:
    for name in NAMES:
        assert store.acquire_lock(name)
    for name in NAMES:
        assert store.release_lock(name)


def test_namespaces_have_locks_of_their_own(open_store: OpenStore) -> None:
    acme, other = open_store(namespace="acme"), open_store(namespace="other")
    assert acme.acquire_lock("a")
    assert other.acquire_lock("a")


def test_who_did_not_lock_cannot_unlock(store: Store, open_store: OpenStore) -> None:
    assert store.acquire_lock("a")
    assert not open_store().release_lock("a")
    assert not store.release_lock("b")
    assert store.is_locked("a")


def test_a_lock_frees_itself_after_its_ttl(store: Store, client: redis.Redis) -> None:
    assert store.acquire_lock("a", ttl=7)
    assert 5 <= client.ttl("lock:{a}") <= 7  # type: ignore[operator]
    client.delete("lock:{a}")  # as the server does then
    assert not store.is_locked("a")
    assert not store.release_lock("a")


def test_a_lock_that_was_lost_and_taken_is_not_freed_by_its_old_holder(
    store: Store, open_store: OpenStore, client: redis.Redis
) -> None:
    old = store.lock("a")
    assert old.acquire()
    client.delete("lock:{a}")
    new = open_store().lock("a")
    assert new.acquire(timeout=0)
    assert not old.release()
    assert not old.extend()
    assert new.is_held()
    assert new.release()


def test_an_extended_lock_starts_its_ttl_anew(store: Store, client: redis.Redis) -> None:
    lock = store.lock("a", ttl=100)
    assert not lock.extend()
    with lock:
        client.expire("lock:{a}", 5)
        assert lock.extend()
        assert client.ttl("lock:{a}") > 90  # type: ignore[operator]


def test_waiting_for_a_lock_ends_with_an_error_that_names_it(
    store: Store, clock: ManualClock
) -> None:
    assert store.acquire_lock("busy")
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            with store.lock("busy", timeout=5):
                pass
        except BaseException as exc:
            errors.append(exc)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while waiting.is_alive():
        clock.advance(1)
        waiting.join(0.01)
    (error,) = errors
    assert isinstance(error, LockTimeout)
    assert isinstance(error, TimeoutError)
    assert error.waited == 5


def test_a_waiter_gets_the_lock_when_it_is_given_back(real_store: Store) -> None:
    held = real_store.lock("a")
    assert held.acquire()
    entered = threading.Event()

    def wait() -> None:
        with real_store.lock("a", timeout=20):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    held.release()
    waiting.join(20)
    assert entered.is_set()
    assert not real_store.is_locked("a")


def test_one_at_a_time_counts_right(real_store: Store) -> None:
    """A read-change-write of a session, as the documentation of update_session advises."""
    real_store.create_session("s", {"n": 0})

    def work() -> None:
        for _ in range(5):
            with real_store.lock("s", timeout=30):
                data = real_store.get_session("s")
                assert data is not None
                real_store.update_session("s", {"n": data["n"] + 1})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert real_store.get_session("s") == {"n": 20}


def test_a_lock_is_freed_when_the_work_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock("a"):
        raise ZeroDivisionError
    assert not store.is_locked("a")


def test_disconnecting_gives_the_locks_back(store: Store, open_store: OpenStore) -> None:
    other = open_store()
    assert other.acquire_lock("a")
    other.disconnect()
    assert not store.is_locked("a")


def test_a_held_lock_is_renewed_after_a_third_of_its_ttl(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    for lock_name in "ab":
        assert store.acquire_lock(lock_name, ttl=30)
        client.expire(f"lock:{{{lock_name}}}", 5)
    clock.advance(9)
    store.renew_locks()
    assert client.ttl("lock:{a}") <= 5  # type: ignore[operator]
    clock.advance(1)
    store.renew_locks()
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
    store.renew_locks()
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
        store.renew_locks()
        assert lock.is_lost
        assert "the lock '{a}' was lost while it was held" in caplog.text
        caplog.clear()
        clock.advance(10)
        store.renew_locks()
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
            store.renew_locks()
            assert "the lock '{a}' was not renewed" in caplog.text
            assert not lock.is_lost
            server.resume()
            until(store.health_check)
            clock.advance(40)
            store.renew_locks()
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
                    store.renew_locks()
                    right = not (
                        lock.is_lost
                        or lock.extend()
                        or lock.acquire(timeout=0)
                        or store.release_lock("b")
                        or lock.release()
                    )
                    store.disconnect()
                finally:
                    os._exit(0 if right else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert store.client.ttl("lock:{a}") <= 50  # type: ignore[operator]
            assert lock.extend()
        assert store.release_lock("b")


@pytest.mark.parametrize("ttl", [0, 1, -5, 2.5, "30", None, True, float("nan")])
def test_a_ttl_that_the_lock_cannot_keep_is_refused(store: Store, ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        store.lock("a", ttl=ttl)
    with pytest.raises(InvalidInput, match="ttl"):
        store.acquire_lock("a", ttl=ttl)


@pytest.mark.parametrize("timeout", [float("nan"), "5", None, True])
def test_a_timeout_that_never_ends_is_refused(store: Store, timeout: Any) -> None:
    with pytest.raises(InvalidInput, match="timeout"):
        store.lock("a", timeout=timeout)


@pytest.mark.parametrize("times", [1, 2])
def test_a_lock_whose_reply_was_lost_is_ours(
    lossy_store: Store, proxy: LossyProxy, times: int
) -> None:
    proxy.lose_replies(times, "\r\nNX\r\n")
    assert lossy_store.acquire_lock("a")
    assert proxy.lost == times
    assert lossy_store.release_lock("a")
    assert not lossy_store.is_locked("a")


def test_locks_of_other_users_of_the_library_underneath_are_left_alone(redis_url: str) -> None:
    import redis_lock

    with Store(RedisConfig(url=redis_url)) as store, redis.Redis.from_url(redis_url) as client:
        theirs = redis_lock.Lock(client, "{theirs}", expire=30, id="them")
        with theirs:
            assert store.is_locked("theirs")
            assert not store.acquire_lock("theirs")
            theirs.extend()
        assert store.acquire_lock("theirs")
        assert not theirs.acquire(blocking=False)
