"""So many sessions a user may have, or begin in a minute, if that is said: one more is refused."""

from __future__ import annotations

import threading

import pytest
import redis

from miniagent_redis import RedisConfig, SessionAgent, SessionManager
from miniagent_redis.doctor.fsck import check
from miniagent_redis.errors import InvalidInput, RateLimited, SessionExists
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import watched
from tests.support.words import OpenStore

Store = RedisSessionManager


@pytest.fixture
def capped(open_store: OpenStore) -> Store:
    """Return a store in which ada has two sessions, the most that she may have."""
    store = open_store(max_sessions_per_user=2)
    store.create_session("a", ttl=100, user_id="ada")
    store.create_session("b", ttl=900, user_id="ada")
    return store


def ids(store: Store, user: str = "ada") -> set[str]:
    return {entry["session_id"] for entry in store.list_sessions(user)}


def test_one_more_is_refused_with_what_to_do(capped: Store) -> None:
    with pytest.raises(RateLimited, match="has 2 sessions, and may have 2") as caught:
        capped.create_session("c", user_id="ada")
    assert "end one of them" in str(caught.value)
    assert caught.value.key == "user ada"
    assert 99 < caught.value.retry_after <= 100
    assert capped.get_session("c") is None
    assert ids(capped) == {"a", "b"}
    assert check(capped) == []


def test_it_counts_for_each_user_and_for_nobody_else(capped: Store) -> None:
    capped.create_session("c", user_id="bob")
    for name in ("d", "e", "f"):
        capped.create_session(name)
    assert ids(capped, "bob") == {"c"}


def test_who_ends_one_may_begin_another(capped: Store) -> None:
    capped.delete_session("a", user_id="ada")
    capped.create_session("c", user_id="ada")
    with pytest.raises(RateLimited):
        capped.create_session("d", user_id="ada")


def test_one_that_has_expired_does_not_count(capped: Store, clock: ManualClock) -> None:
    clock.advance(101)  # nobody has swept
    capped.create_session("c", user_id="ada")
    with pytest.raises(RateLimited):
        capped.create_session("d", user_id="ada")
    clock.advance(10_000)
    capped.create_session("a", user_id="ada")  # an id that is known
    capped.create_session("d", user_id="ada")
    with pytest.raises(RateLimited):
        capped.create_session("e", user_id="ada")


def test_one_that_is_there_is_told_as_that(capped: Store) -> None:
    with pytest.raises(SessionExists):
        capped.create_session("a", user_id="ada")
    assert ids(capped) == {"a", "b"}


def test_an_id_of_somebody_elses_takes_up_no_place(open_store: OpenStore) -> None:
    store = open_store(max_sessions_per_user=2)
    store.create_session("bobs", user_id="bob")
    with pytest.raises(SessionExists):
        store.create_session("bobs", user_id="ada")
    for name in ("a", "b"):
        store.create_session(name, user_id="ada")
    assert ids(store) == {"a", "b"}


def test_a_new_id_is_no_new_session(capped: Store) -> None:
    renewed = capped.renew_session_id("a", user_id="ada")
    assert ids(capped) == {renewed, "b"}
    with pytest.raises(RateLimited):
        capped.create_session("c", user_id="ada")


def test_of_many_at_once_not_one_is_too_many(redis_url: str) -> None:
    created: list[str] = []
    with RedisSessionManager(RedisConfig(url=redis_url, max_sessions_per_user=3)) as store:

        def create(name: str) -> None:
            try:
                store.create_session(name, user_id="ada")
            except RateLimited:
                return
            created.append(name)

        threads = [threading.Thread(target=create, args=(f"s{n}",)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(created) <= 3
        assert ids(store) == set(created)
        for number in range(3 - len(created)):  # those that were refused hold no place
            store.create_session(f"later{number}", user_id="ada")
        with pytest.raises(RateLimited):
            store.create_session("more", user_id="ada")
        assert check(store) == []


def test_it_costs_a_round_trip_only_where_it_is_set(redis_url: str, client: redis.Redis) -> None:
    counts = []
    for most in (None, 5):
        with RedisSessionManager(RedisConfig(url=redis_url, max_sessions_per_user=most)) as store:
            store.create_session(f"warm{most}", user_id="bob")
            with watched(store.client) as sent:
                store.create_session(f"s{most}", user_id="ada")
            counts.append(len(sent))
            store.client.flushdb()
    assert counts[1] == counts[0] + 1


def test_a_manager_refuses_too_and_resumes_what_is_there(store_url: str) -> None:
    config = RedisConfig(url=store_url, max_sessions_per_user=1)
    with SessionAgent(redis_config=config) as agent:
        manager = SessionManager(agent)
        sid = manager.create_or_resume_session("ada")
        assert manager.create_or_resume_session("ada", sid) == sid
        with pytest.raises(RateLimited):
            manager.create_or_resume_session("ada")


@pytest.mark.parametrize("bad", [0, -1, 1.5, "3", True])
def test_a_cap_is_a_whole_number_from_one(bad: object) -> None:
    with pytest.raises(InvalidInput, match="max_sessions_per_user"):
        RedisConfig(url="memory://", max_sessions_per_user=bad)  # type: ignore[arg-type]


# --- in a minute ----------------------------------------------------------------------------


def test_who_begins_too_many_in_a_minute_is_refused_though_they_are_over(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store, other = (open_store(max_new_sessions_per_minute=3) for _ in range(2))
    for number, each in enumerate((store, other, store)):
        each.create_session(f"s{number}", user_id="ada")
        each.delete_session(f"s{number}")
    with pytest.raises(RateLimited, match="begun 3 sessions within a minute") as caught:
        other.create_session("more", user_id="ada")
    assert (caught.value.key, "try again in" in str(caught.value)) == ("user ada", True)
    assert other.get_session("more") is None
    other.create_session("bobs", user_id="bob")
    for number in range(5):
        other.create_session(f"nobodys{number}")
    clock.advance(caught.value.retry_after + 0.001)
    store.create_session("more", user_id="ada")


def test_what_was_counted_of_a_user_is_forgotten_with_him(open_store: OpenStore) -> None:
    store = open_store(max_new_sessions_per_minute=1)
    store.create_session("s", user_id="ada")
    assert store.forget_user("ada").limits == 1
    assert not [key for key in store.client.scan_iter() if b"ada" in key]
    store.create_session("s", user_id="ada")


def test_what_a_minute_may_have_costs_a_round_trip_only_where_it_is_set(redis_url: str) -> None:
    counts = []
    for most in (None, 5):
        config = RedisConfig(url=redis_url, max_new_sessions_per_minute=most)
        with RedisSessionManager(config) as store:
            store.create_session(f"warm{most}", user_id="ada")
            with watched(store.client) as sent:
                store.create_session(f"s{most}", user_id="ada")
            counts.append(len(sent))
    assert counts[1] == counts[0] + 1
