"""Expiry: one deadline for all keys of a session, moved by use, capped by age."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from miniagent_redis.errors import SessionNotFound
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import GRACE_MS
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.expiring import TTL, use
from tests.support.stored import dump
from tests.support.words import OpenStore, said

Store = RedisSessionManager


def deadlines(client: redis.Redis) -> dict[str, int]:
    """Return the expiry times of the session's keys in ms, less the grace where it applies."""
    return {
        key: expires - (0 if key.startswith("session:") else GRACE_MS)
        for key, (_, _, expires) in dump(client).items()
        if key.endswith("{s}")
    }


def test_all_six_keys_have_the_one_deadline(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s")
    use(store)
    found = deadlines(client)
    assert len(found) == 6
    assert set(found.values()) == {round(clock.time() * 1000) + TTL * 1000}
    assert store.session_state("s").expires_at == round(clock.time(), 3) + TTL


def test_a_person_sees_the_time_to_live_on_the_session_key(real_store: Store) -> None:
    real_store.create_session("s", ttl=100)
    assert real_store.client.keys("session:*") == [b"session:{s}"]
    assert 98 <= real_store.client.ttl("session:{s}") <= 100


USES: dict[str, Callable[[Store], object]] = {
    "begin and commit": lambda store: store.commit_turn(store.begin_turn("s", "x"), [said("y")]),
    "append": lambda store: store.append_to_thread("s", Message("user", "x")),
    "resume": lambda store: store.touch_session("s"),
    "update": lambda store: store.update_session("s", {"a": 1}),
    "clear": lambda store: store.clear_thread("s"),
    "extend": lambda store: store.extend_session_ttl("s", TTL),
}
NO_USES: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get_session("s"),
    "state": lambda store: store.session_state("s"),
    "load": lambda store: store.load_thread("s"),
    "list": lambda store: store.list_sessions(),
    "resolve": lambda store: store.resolve_turn("s", "x"),
}


@pytest.mark.parametrize("name", USES)
def test_use_moves_the_deadline_of_every_key(
    store: Store, client: redis.Redis, clock: ManualClock, name: str
) -> None:
    store.create_session("s")
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    clock.advance(1000)
    USES[name](store)
    assert set(deadlines(client).values()) == {round(clock.time() * 1000) + TTL * 1000}
    state = store.session_state("s")
    assert state.last_activity == pytest.approx(clock.time(), abs=0.001)
    assert state.created_at == pytest.approx(clock.time() - 1000, abs=0.001)


def test_a_step_moves_the_deadline_so_that_no_session_expires_under_a_turn(
    open_store: OpenStore, client: redis.Redis, clock: ManualClock
) -> None:
    store = open_store(session_ttl=40, lease_ttl=30)
    store.create_session("s")
    turn = store.begin_turn("s", "x")
    for _ in range(5):
        clock.advance(29)
        turn = store.stage_step(turn, [said("still at it")])
        assert len(set(deadlines(client).values())) == 1
    store.commit_turn(turn, [said("done")])
    assert store.session_state("s").message_count == 7


def test_a_session_outlives_the_lease_of_a_turn_begun_just_before_its_deadline(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(session_ttl=100, lease_ttl=30)
    store.create_session("s")
    clock.advance(99)
    turn = store.begin_turn("s", "x")
    clock.advance(29)
    store.commit_turn(turn, [said("y")])


@pytest.mark.parametrize("name", NO_USES)
def test_looking_moves_nothing(
    store: Store, client: redis.Redis, clock: ManualClock, name: str
) -> None:
    store.create_session("s")
    before = dump(client)
    clock.advance(1000)
    NO_USES[name](store)
    assert dump(client) == before


def test_a_session_is_gone_at_its_deadline_and_not_before(store: Store, clock: ManualClock) -> None:
    store.create_session("s", user_id="ada")
    store.append_to_thread("s", Message("user", "x"))
    clock.advance(TTL - 0.01)
    assert store.get_session("s") == {}
    assert len(store.list_sessions("ada")) == 1
    clock.advance(0.01)
    assert store.get_session("s") is None
    assert list(store.list_sessions()) == list(store.list_sessions("ada")) == []
    with pytest.raises(SessionNotFound):
        store.load_thread("s")
    with pytest.raises(SessionNotFound):
        store.touch_session("s")


def test_what_an_expired_session_left_does_not_show_in_a_new_one(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s", {"old": True})
    use(store)
    clock.advance(TTL)
    assert store.create_session("s", {"new": True})
    assert store.get_session("s") == {"new": True}
    state = store.session_state("s")
    assert (state.message_count, state.turns, state.version, state.bytes) == (0, 0, 1, 0)
    assert state.open_turn is None
    assert store.load_thread("s").messages == ()
    assert client.exists("turn:{s}") == 0
    assert not store.begin_turn("s", "x").resumed


def test_an_age_limit_ends_a_session_that_is_in_use(
    open_store: OpenStore, client: redis.Redis, clock: ManualClock
) -> None:
    store = open_store(session_ttl=100, session_max_age=250)
    store.create_session("s")
    born = clock.time()
    for _ in range(4):
        clock.advance(60)
        store.touch_session("s")
    assert set(deadlines(client).values()) == {round(born * 1000) + 250_000}
    store.extend_session_ttl("s", 10_000)
    assert set(deadlines(client).values()) == {round(born * 1000) + 250_000}
    clock.advance(10)
    assert store.get_session("s") is None


def test_an_age_limit_below_the_ttl_counts_from_the_start(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(session_ttl=100, session_max_age=50)
    store.create_session("s")
    assert store.session_state("s").expires_at == pytest.approx(clock.time() + 50, abs=0.001)


def test_each_session_has_the_ttl_it_was_created_with(store: Store, clock: ManualClock) -> None:
    store.create_session("short", ttl=10)
    store.create_session("s")
    clock.advance(9)
    store.touch_session("short")
    clock.advance(9)
    assert store.get_session("short") == {}
    clock.advance(1)
    assert store.get_session("short") is None
    assert store.get_session("s") == {}


def test_an_extended_ttl_holds_for_each_later_use(store: Store, clock: ManualClock) -> None:
    store.create_session("s", ttl=10)
    assert store.extend_session_ttl("s", 1000)
    clock.advance(900)
    store.append_to_thread("s", Message("user", "x"))
    assert store.session_state("s").expires_at == pytest.approx(clock.time() + 1000, abs=0.001)


def test_a_fraction_of_a_second_is_a_ttl(real_store: Store) -> None:
    real_store.create_session("s", ttl=0.05)
    ttl: Any = real_store.client.pttl("session:{s}")
    assert 0 < ttl <= 50 or ttl == -2


def test_without_a_manual_clock_the_server_tells_the_time(real_store: Store) -> None:
    real_store.create_session("s")
    seconds, microseconds = real_store.client.time()
    created = real_store.session_state("s").created_at
    assert created == pytest.approx(seconds + microseconds / 1e6, abs=5)
    ttl: Any = real_store.client.pttl("session:{s}")
    assert 3_590_000 < ttl <= 3_600_000
