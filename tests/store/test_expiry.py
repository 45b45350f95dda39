"""Expiry: what has ended by time is told to its hooks once, and then nothing of it is left."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
import redis

from miniagent_redis import aio
from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput, SessionNotFound
from miniagent_redis.models import ExpiredSession, Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import GRACE_MS, SHARDS
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.cluster import one_node
from tests.support.expiring import KEYS, TTL, use
from tests.support.stored import dump
from tests.support.words import OpenStore

Store = RedisSessionManager


@pytest.mark.parametrize("settings", [{}, {"session_max_age": TTL, "session_ttl": 2 * TTL}])
def test_nothing_of_an_expired_session_remains(
    open_store: OpenStore, client: redis.Redis, clock: ManualClock, settings: dict[str, Any]
) -> None:
    store = open_store(**settings)
    store.create_session("s", {"a": 1}, user_id="ada")
    use(store)
    assert len([key for key in dump(client) if key.endswith("{s}")]) == 6
    clock.advance(TTL - 1)
    assert store.sweep() == 0
    assert store.get_session("s") == {"a": 1}
    clock.advance(1)
    assert store.sweep() == 1
    assert dump(client) == {}
    assert store.sweep() == 0


def test_use_puts_the_end_off_and_an_age_limit_does_not_move(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(session_ttl=100, session_max_age=250)
    store.create_session("s")
    for _ in range(3):
        clock.advance(80)
        assert store.sweep() == 0
        store.touch_session("s")
        store.parts.index.flush()
    clock.advance(9.9)
    assert store.sweep() == 0
    clock.advance(0.1)
    assert store.sweep() == 1


def test_a_sweep_leaves_sessions_that_are_alive_as_they_are(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s", user_id="ada")
    use(store)
    store.parts.index.flush()
    before = dump(client)
    clock.advance(TTL / 2)
    assert store.sweep() == 0
    assert dump(client) == before


def test_the_hook_sees_the_session_with_its_thread(store: Store, clock: ManualClock) -> None:
    store.create_session("s", user_id="ada \ud800", agent_name="Guide")
    born = clock.time()
    use(store)
    clock.advance(TTL)
    seen: list[ExpiredSession] = []

    def look(expired: ExpiredSession) -> None:
        with pytest.raises(SessionNotFound):
            store.load_thread("s")
        seen.append(expired)

    assert store.sweep([look, seen.append]) == 1
    first, second = seen
    assert first is second
    assert (first.session_id, first.user_id, first.agent_name) == ("s", "ada \ud800", "Guide")
    assert [m.role for m in first.messages] == ["user", "assistant", "tool", "assistant"]
    assert first.message_count == 4
    assert first.created_at == pytest.approx(born, abs=0.001)
    assert first.expired_at == pytest.approx(born + TTL, abs=0.001)


def test_a_long_thread_is_whole(store: Store, clock: ManualClock) -> None:
    store.create_session("s")
    store.append_to_thread("s", [Message("user", str(n)) for n in range(2000)])
    clock.advance(TTL)
    seen: list[ExpiredSession] = []
    store.sweep([seen.append])
    assert [m.text for m in seen[0].messages] == [str(n) for n in range(2000)]


@one_node
def test_the_end_is_told_once_on_both_channels(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    listener = open_store()
    store.create_session("s")
    clock.advance(TTL)
    store.parts.index.flush()
    listener.subscribe(["events:{s}", "session_updates"])
    assert store.sweep() + store.sweep() == 1
    store.publish("session_updates", "the end")
    heard = []
    for note in listener.get_messages():
        if note["data"] == "the end":
            break
        heard.append((note["channel"], note["data"]))
    (told, note) = heard
    assert told == ("events:{s}", "session_expired")
    assert note[0] == "session_updates"
    assert (note[1]["session_id"], note[1]["event"]) == ("s", "session_expired")


def test_a_hook_that_fails_stops_nothing(
    store: Store, client: redis.Redis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for session_id in ("a", "b"):
        store.create_session(session_id)
    clock.advance(TTL)
    seen: list[str] = []

    def fail(expired: ExpiredSession) -> None:
        raise RuntimeError("no luck")

    with caplog.at_level(logging.ERROR):
        assert store.sweep([fail, lambda expired: seen.append(expired.session_id)]) == 2
    assert sorted(seen) == ["a", "b"]
    assert store.failed_expiry_hooks == 2
    assert "no luck" in caplog.text
    assert dump(client) == {}


def test_a_sweep_takes_as_many_as_it_may(store: Store, clock: ManualClock) -> None:
    for n in range(25):
        store.create_session(f"s{n}")
    clock.advance(TTL)
    assert store.sweep(limit=10) == 10
    assert store.sweep([lambda expired: None], limit=10) == 10
    assert store.sweep(limit=10) == 5


@pytest.mark.parametrize("bad", [{"limit": 0}, {"on_expire": ["x"]}])
def test_bad_input_is_refused(store: Store, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        store.sweep(**bad)


def test_namespaces_are_swept_apart(open_store: OpenStore, clock: ManualClock) -> None:
    acme, other = open_store(namespace="acme"), open_store(namespace="other")
    acme.create_session("s")
    clock.advance(TTL)
    assert other.sweep() == 0
    assert acme.sweep() == 1


def test_an_async_hook_runs_in_the_loop_that_sweeps(store_url: str, clock: ManualClock) -> None:
    async def main() -> None:
        loops: list[object] = []

        async def hook(expired: ExpiredSession) -> None:
            loops.append(asyncio.get_running_loop())

        async with aio.RedisSessionManager(RedisConfig(url=store_url), clock=clock) as store:
            await store.create_session("s")
            clock.advance(TTL)
            assert await store.sweep([hook]) == 1
            assert loops == [asyncio.get_running_loop()]
            assert store.failed_expiry_hooks == 0

    asyncio.run(main())


def test_no_key_is_left_without_a_ttl_but_the_indexes(
    open_store: OpenStore, client: redis.Redis, clock: ManualClock
) -> None:
    store = open_store(session_ttl=TTL)
    for n in range(30):
        session_id = f"s{n}"
        store.create_session(session_id, user_id=f"user{n % 3}", ttl=TTL * (1 + n % 2))
        use(store, session_id)
        if n % 5 == 0:
            store.clear_thread(session_id)
        if n % 7 == 0:
            store.delete_session(session_id)
    store.cache_set("a", 1, ttl=60)
    store.rate_limit("ada", max_requests=5, window=60)
    with store.lock("a"):
        pass
    clock.advance(TTL)
    store.sweep()
    store.parts.index.flush()
    lasting = {key for key, (_, _, expires) in dump(client).items() if expires == -1}
    indexes = {f(n) for f in (KEYS.sessions, KEYS.deadlines) for n in range(SHARDS)}
    assert lasting <= indexes | {KEYS.user_sessions(f"user{n}") for n in range(3)}
    clock.advance(TTL)
    store.sweep()
    lasting = {key for key, (_, _, expires) in dump(client).items() if expires == -1}
    assert lasting == set()
    # Of what was ended it is known for a minute that it was.
    assert not [key for key in dump(client) if "{s" in key and not key.startswith("ops:")]


def test_after_an_hour_that_nobody_swept_the_keys_have_ended_by_themselves(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s")
    ends = [expires for key, (_, _, expires) in dump(client).items() if key.endswith("{s}")]
    assert max(ends) == round(clock.time() * 1000) + TTL * 1000 + GRACE_MS
    for key in dump(client):
        if key.endswith("{s}"):
            client.delete(key)  # as the server does then
    clock.advance(TTL + GRACE_MS / 1000)
    assert store.sweep([lambda expired: pytest.fail("there is nothing to tell")]) == 0
    assert dump(client) == {}


def test_looking_for_nothing_costs_one_round_trip(
    real_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(20):
        real_store.create_session(f"s{n}")
    trips: list[object] = []
    exchange = real_store.parts.core.connections.exchange

    def count(*args: Any) -> Any:
        trips.append(args)
        return exchange(*args)

    monkeypatch.setattr(real_store.parts.core.connections, "exchange", count)
    assert real_store.sweep() == 0
    assert len(trips) == 1
