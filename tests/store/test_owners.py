"""A session of somebody else is not found: the same answer as for one that never was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from attrs import evolve

from miniagent_redis.errors import InvalidInput, SessionExists, SessionNotFound
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.calls import call_store, of_sessions
from tests.support.stored import dump
from tests.support.words import lines, said

Store = RedisSessionManager

CALLS = tuple(of_sessions())


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("hers", {"secret": 1}, user_id="ada")
    store.append_to_thread("hers", Message("user", "secret"))
    store.create_session("nobodys")


def outcome(action: Callable[[], object]) -> object:
    """Return what the call gives, or the kind and text of its error."""
    try:
        return action()
    except SessionNotFound as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize("name", CALLS)
def test_anothers_session_is_like_one_that_never_was(
    store: Store, client: redis.Redis, name: str
) -> None:
    before = dump(client)
    for user in ("eve", "Ada", "ada ", "ad", "adaa", "*", "ada\x00", "\ud800", "x" * 10_000):
        anothers = outcome(lambda user=user: call_store(name, store, "hers", user))
        unknown = outcome(lambda user=user: call_store(name, store, "nope", user))
        if isinstance(unknown, tuple):
            unknown = unknown[0], str(unknown[1]).replace("nope", "hers")
        assert anothers == unknown
        # It says that nothing was there; a False of cancel_turn would say that the session is.
        is_nothing = anothers in (None, False) and name != "cancel_turn"
        assert is_nothing or isinstance(anothers, tuple)
    # A session without an owner is nobody's.
    nobodys = outcome(lambda: call_store(name, store, "nobodys", "ada"))
    assert nobodys in (None, False) or isinstance(nobodys, tuple)
    assert dump(client) == before


@pytest.mark.parametrize("user", ["ada", None])
@pytest.mark.parametrize("name", CALLS)
def test_the_owner_and_who_names_no_user_are_let_in(store: Store, name: str, user: Any) -> None:
    found = outcome(lambda: call_store(name, store, "hers", user))
    assert not isinstance(found, tuple)
    assert found is not False or name == "cancel_turn"  # there is no turn


def test_a_user_id_that_is_no_text_is_refused_and_lets_nobody_in(
    store: Store, client: redis.Redis
) -> None:
    before = dump(client)
    for name in CALLS:
        for user in ("", 5, b"ada", True, ["ada"]):
            with pytest.raises(InvalidInput):
                call_store(name, store, "hers", user)
    assert dump(client) == before


def test_a_turn_is_finished_only_by_its_user(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("hers", "one", user_id="ada")
    before = dump(client)
    forged = evolve(turn, user_id="eve")
    with pytest.raises(SessionNotFound):
        store.stage_step(forged, [said("x")])
    with pytest.raises(SessionNotFound):
        store.commit_turn(forged, [said("x")])
    with pytest.raises(SessionNotFound):
        store.renew_lease(forged)
    assert not store.abort_turn(forged)
    assert dump(client) == before
    store.commit_turn(turn, [said("hello Ada")])


def test_an_id_that_is_taken_stays_its_owners(store: Store, client: redis.Redis) -> None:
    with pytest.raises(SessionExists):
        store.create_session("hers", {"mine": 1}, user_id="eve")
    with pytest.raises(SessionExists):
        store.create_session("hers")
    assert store.get_session("hers", user_id="ada") == {"secret": 1}
    assert lines(store, "hers") == ["user:secret"]
    assert list(store.list_sessions("eve")) == []
    assert [s["session_id"] for s in store.list_sessions("ada")] == ["hers"]


def test_lists_are_a_users_own(store: Store) -> None:
    store.create_session("his", user_id="bob")
    assert [s["session_id"] for s in store.list_sessions("ada")] == ["hers"]
    assert [s["session_id"] for s in store.list_sessions("bob")] == ["his"]
    assert list(store.list_sessions("eve")) == []
    assert {s["session_id"] for s in store.list_sessions()} == {"hers", "his", "nobodys"}


def test_an_id_that_changed_hands_is_listed_for_its_owner_of_now(store: Store) -> None:
    store.delete_session("hers")
    store.create_session("hers", user_id="bob")
    assert list(store.list_sessions("ada")) == []
    assert [s["session_id"] for s in store.list_sessions("bob")] == ["hers"]


def test_an_id_that_changed_hands_by_expiry_is_listed_for_its_owner_of_now(
    store: Store, clock: Any
) -> None:
    clock.advance(4000)
    store.create_session("hers", user_id="bob")
    assert list(store.list_sessions("ada")) == []
    assert [s["session_id"] for s in store.list_sessions("bob")] == ["hers"]
    assert store.get_session("hers", user_id="ada") is None
