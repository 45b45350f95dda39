"""Sessions that never expire: no key of theirs has an end, and no sweep ever takes them."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis import InvalidInput, RedisConfig, RedisSessionManager, SessionNotFound
from miniagent_redis.fsck import check
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from tests.support.expiring import use
from tests.support.words import OpenStore, said

Store = RedisSessionManager
CENTURIES = 1000 * 365 * 86_400


def ends(client: redis.Redis) -> set[int]:
    """Return the times to live of the session's keys, -1 for none."""
    names: Any = client.keys("*{s}")
    assert names
    return {int(client.pttl(name)) for name in names}


def use_in_every_way(store: Store) -> None:
    use(store)  # all six keys are there afterwards, with an open turn
    turn = store.begin_turn("s", "x", on_busy="interrupt")
    store.stage_step(turn, [said("y")])
    store.tell_text(turn, "z")
    store.abort_turn(turn)
    store.commit_turn(store.begin_turn("s", "x"), [said("y")])
    store.append_to_thread("s", Message("user", "x"))
    store.touch_session("s")
    store.update_session("s", {"a": 1})
    store.truncate_thread("s", 1)
    store.clear_thread("s")
    store.commit_turn(store.begin_turn("s", "x"), [said("y")])


@pytest.mark.parametrize("value", [None, "never", " NEVER "])
def test_a_store_may_keep_its_sessions_for_good(
    open_store: OpenStore, clock: ManualClock, value: Any
) -> None:
    store = open_store(session_ttl=value)
    assert store.config.session_ttl is None
    store.create_session("s", {"a": 1}, user_id="ada")
    assert ends(store.client) == {-1}
    use_in_every_way(store)
    assert ends(store.client) == {-1}
    assert store.session_state("s").expires_at is None
    assert [each["expires_at"] for each in store.list_sessions("ada")] == [None]
    clock.advance(CENTURIES)
    assert store.sweep() == 0
    assert store.get_session("s") == {"a": 1}
    assert [message.text for message in store.load_thread("s").messages] == ["x", "y"]
    assert check(store) == []
    assert store.delete_session("s")
    assert check(store) == []


def test_one_session_may_stay_where_others_expire(store: Store, clock: ManualClock) -> None:
    store.create_session("s", ttl="never")
    store.create_session("t", ttl="30d")
    assert ends(store.client) == {-1}
    clock.advance(31 * 86_400)
    assert store.sweep() == 1
    assert [each["session_id"] for each in store.list_sessions()] == ["s"]


@pytest.mark.parametrize("endless", [None, "never"])
def test_a_session_becomes_one_that_stays_and_back(
    store: Store, clock: ManualClock, endless: Any
) -> None:
    store.create_session("s", ttl=100)
    use(store)
    assert store.extend_session_ttl("s", endless)
    assert ends(store.client) == {-1}
    assert store.session_state("s").expires_at is None
    clock.advance(1000)
    assert store.sweep() == 0
    use_in_every_way(store)
    assert ends(store.client) == {-1}
    assert store.extend_session_ttl("s", "1m")
    assert -1 not in ends(store.client)
    assert store.session_state("s").expires_at == pytest.approx(clock.time() + 60, abs=0.001)
    assert check(store) == []
    clock.advance(61)
    assert store.sweep() == 1
    with pytest.raises(SessionNotFound):
        store.session_state("s")


def test_the_greatest_age_ends_a_session_that_does_not_expire(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(session_ttl=None, session_max_age="10h")
    store.create_session("s")
    store.touch_session("s")
    store.extend_session_ttl("s", None)
    end = store.session_state("s").expires_at
    assert end == pytest.approx(clock.time() + 36_000, abs=0.001)
    clock.advance(36_001)
    assert store.get_session("s") is None
    assert store.sweep() == 1


def test_a_watcher_of_a_session_that_stays_waits_like_any_other(store_url: str) -> None:
    with Store(RedisConfig(url=store_url, session_ttl="never")) as store:
        store.create_session("s")
        store.append_to_thread("s", Message("user", "x"))
        told = [event.type.value for event in store.watch("s", "", "1ms")]
    assert told == ["session_created", "message_added"]


def test_a_key_that_would_vanish_from_a_session_that_stays_is_found_and_mended(
    store: Store,
) -> None:
    store.create_session("s", ttl="never")
    store.append_to_thread("s", Message("user", "x"))
    store.client.expire("thread:{s}", 1000)
    (found,) = check(store)
    assert (found.kind, found.key) == ("expiry", "thread:{s}")
    assert found.problem == "it expires before its session does"
    assert [each.repaired for each in check(store, repair=True)] == [True]
    assert ends(store.client) == {-1}
    assert check(store) == []


def test_a_session_made_anew_under_the_id_of_one_that_stayed_may_expire(
    store: Store, clock: ManualClock
) -> None:
    store.create_session("s", ttl="never")
    store.delete_session("s")
    store.create_session("s", ttl=10)
    clock.advance(11)
    assert store.sweep() == 1
    assert list(store.list_sessions()) == []


@pytest.mark.parametrize("ttl", [float("inf"), 0, "forever"])
def test_what_is_not_said_clearly_is_not_taken_for_never(store: Store, ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        store.create_session("s", ttl=ttl)
    with pytest.raises(InvalidInput, match="session_ttl"):
        RedisConfig(session_ttl=ttl)


def test_the_environment_says_never(store_url: str) -> None:
    given = {"MINIAGENT_SESSION_TTL": "never", "MINIAGENT_SESSION_MAX_AGE": "never"}
    config = RedisConfig.from_env(given, url=store_url)
    assert config.session_ttl is config.session_max_age is None
    with pytest.raises(InvalidInput, match="lease_ttl"):
        RedisConfig.from_env({"MINIAGENT_LEASE_TTL": "never"})
