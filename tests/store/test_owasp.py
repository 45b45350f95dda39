"""What OWASP's Session Management Cheat Sheet asks of whoever keeps sessions, point by point.

The table in docs/security.md names the test of each point; these are those that have no better
place.
"""

from __future__ import annotations

import os
import uuid

import pytest

from miniagent_redis import RedisConfig, SessionAgent, SessionManager, SessionNotFound
from miniagent_redis.models import new_id
from miniagent_redis.runtime import ids
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import OpenStore, said

Store = RedisSessionManager


def test_a_generated_id_has_128_bits_of_the_systems_randomness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, draw = [], os.urandom

    def urandom(size: int) -> bytes:
        drawn.append(draw(size))
        return drawn[-1]

    monkeypatch.setattr(ids._stock, "ids", [])
    monkeypatch.setattr(os, "urandom", urandom)
    found = [new_id() for _ in range(10_000)]
    assert len(set(found)) == 10_000
    bits = b"".join(drawn).hex()
    assert {bits[at : at + 32] for at in range(0, len(bits), 32)} >= set(found)


def test_an_id_that_a_manager_generates_is_a_random_uuid(store_url: str) -> None:
    """RFC 9562, version 4: 122 bits of os.urandom; 64 are asked for."""
    with SessionAgent(redis_config=RedisConfig(url=store_url)) as agent:
        manager = SessionManager(agent)
        made = [manager.create_or_resume_session() for _ in range(20)]
        assert {uuid.UUID(session_id).version for session_id in made} == {4}
        renewed = manager.renew_session_id(made[0], new_user_id="ada")
        assert int(renewed, 16) < 2**128
        assert manager.get_history(renewed, user_id="ada") == []


def test_an_id_says_nothing_of_its_session(store: Store) -> None:
    store.create_session("first", {"secret": 1}, user_id="ada")
    one, other = store.renew_session_id("first"), new_id()
    assert len(one) == len(other) == 32
    assert not {"ada", "first", "secret"} & {one}


@pytest.mark.parametrize("level", ["INFO"])
def test_no_id_is_logged(
    store: Store, clock: ManualClock, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    """Faults are: a record that cannot be read is told with its session, as a warning."""
    caplog.set_level(level)
    canary = f"canary-{os.urandom(8).hex()}"
    store.create_session(canary, user_id="ada")
    store.commit_turn(store.begin_turn(canary, "Hi"), [said("Hello")])
    store.update_session(canary, {"a": 1})
    with pytest.raises(SessionNotFound):
        store.load_thread(canary, user_id="eve")
    renewed = store.renew_session_id(canary)
    store.renew_session_id(renewed, new_id=f"{canary}-2")
    store.delete_session(f"{canary}-2")
    store.create_session(f"{canary}-3")
    clock.advance(10**6)
    assert store.sweep() == 1
    assert canary not in caplog.text
    assert renewed not in caplog.text


def test_an_id_that_nobody_was_given_opens_nothing(store: Store) -> None:
    """Strict management: only creating makes a session, and a program alone does that."""
    before = dump(store.client)
    for act in (
        lambda: store.touch_session("chosen"),
        lambda: store.begin_turn("chosen", "Hi"),
        lambda: store.load_thread("chosen"),
        lambda: store.renew_session_id("chosen"),
    ):
        with pytest.raises(SessionNotFound):
            act()
    assert store.get_session("chosen") is None
    assert dump(store.client) == before


def test_a_session_without_use_ends_and_one_in_use_ends_at_its_age(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(session_ttl=900, session_max_age="8h")
    store.create_session("idle")
    store.create_session("busy")
    clock.advance(899)
    store.touch_session("busy")
    clock.advance(2)
    assert store.get_session("idle") is None
    while clock.time() < store.session_state("busy").created_at + 8 * 3600 - 900:
        clock.advance(800)
        store.touch_session("busy")
    renewed = store.renew_session_id("busy")  # a new id is no new life
    clock.advance(900)
    assert store.get_session(renewed) is None


def test_who_logs_out_leaves_nothing_that_was_said(store: Store) -> None:
    store.create_session("s", {"plan": "canary"}, user_id="ada")
    store.commit_turn(store.begin_turn("s", "canary"), [said("canary")])
    assert store.delete_session("s", user_id="ada")
    assert "canary" not in repr(dump(store.client))
    with pytest.raises(SessionNotFound):
        store.begin_turn("s", "again", user_id="ada")


def test_all_sessions_of_a_user_can_be_ended(store: Store) -> None:
    for number in range(5):
        store.create_session(f"s{number}", user_id="ada")
    store.create_session("other", user_id="bob")
    for entry in store.list_sessions("ada"):
        store.delete_session(entry["session_id"], user_id="ada")
    assert list(store.list_sessions("ada")) == []
    assert store.get_session("other") == {}


def test_guesses_can_be_limited(store: Store) -> None:
    guesses = [store.rate_limit("guess:203.0.113.9", max_requests=5) for _ in range(6)]
    assert guesses == [True] * 5 + [False]
