"""Named locks: one holder at a time, by any name, that end by themselves."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput, LockTimeout
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.cluster import one_node
from tests.support.proxy import Proxy
from tests.support.words import OpenStore

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
def test_a_lock_whose_reply_was_lost_is_ours(lossy_store: Store, proxy: Proxy, times: int) -> None:
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


def test_threads_that_share_one_lock_object_are_in_it_one_at_a_time(real_store: Store) -> None:
    shared = real_store.lock("a", timeout=60)
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with shared:
                inside += 1
                most = max(most, inside)
                inside -= 1

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result(60)
    assert most == 1
    assert not real_store.is_locked("a")


def test_a_release_frees_only_what_the_same_thread_took_by_the_object(
    store: Store, client: redis.Redis
) -> None:
    shared = store.lock("a")
    assert shared.acquire()
    client.delete("lock:{a}")  # its ttl is over
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(shared.acquire).result(20)
        assert shared.is_lost
        assert not shared.extend()
        assert not shared.release()
        assert store.is_locked("a")
        assert pool.submit(shared.release).result(20)
    assert not store.is_locked("a")


@one_node
def test_the_keys_of_a_lock_begin_with_the_namespace(
    open_store: OpenStore, client: redis.Redis
) -> None:
    acme = open_store(namespace="acme")
    with acme.lock("a"):
        assert client.keys("*lock*") == [b"acme:lock:{a}"]
    assert not acme.is_locked("a")
