"""Sweeps at the same time as other sweeps, as deaths, as renewals: each expiry is told once."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
import redis

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import StoreUnavailable
from miniagent_redis.models import ExpiredSession
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.expiring import CLAIM, KEYS, TTL
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.stored import dump
from tests.support.waiting import until
from tests.support.words import OpenStore

Store = RedisSessionManager


def score(client: redis.Redis) -> float:
    """Return the deadline of the session "s" in the index."""
    found: Any = client.zscore(KEYS.deadlines(KEYS.shard("s")), "s")
    return float(found)


def wait_until_due(store: Store) -> None:
    """Block until the deadlines of all sessions have passed by the server's clock."""

    def all_due() -> bool:
        client: Any = store.client
        lasts = [
            client.zrange(store.parts.core.keys.deadlines(n), -1, -1, withscores=True)
            for n in range(16)
        ]
        seconds, micros = client.time()
        return all(last[0][1] < seconds * 1000 + micros // 1000 for last in lasts if last)

    until(all_due)


# --- several instances, and those that die --------------------------------------------------------


def test_while_one_is_at_it_no_other_touches_the_session(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    other = open_store()
    store.create_session("s")
    clock.advance(TTL)
    seen: list[object] = []

    def hook(expired: ExpiredSession) -> None:
        seen.append(expired)
        clock.advance(CLAIM - 1)
        assert other.sweep([hook]) == 0

    assert store.sweep([hook]) == 1
    assert len(seen) == 1


@pytest.mark.parametrize("death", ["claimed", "hook", "removed"])
def test_what_a_dead_one_had_claimed_is_taken_over(
    store: Store,
    open_store: OpenStore,
    client: redis.Redis,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    death: str,
) -> None:
    store.create_session("s")
    clock.advance(TTL)

    parts = store.parts
    run = parts.core.scripts.run

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def die_when_claimed(name: str, *args: Any, **options: Any) -> Any:
        return die() if name == "read_expired" else run(name, *args, **options)

    if death == "claimed":
        monkeypatch.setattr(parts.core.scripts, "run", die_when_claimed)
    elif death == "removed":
        monkeypatch.setattr(parts.index, "remove", die)
    with pytest.raises(KeyboardInterrupt):
        store.sweep([die if death == "hook" else lambda expired: None])
    other = open_store()
    seen: list[ExpiredSession] = []
    clock.advance(CLAIM)
    assert other.sweep([seen.append]) == 0
    clock.advance(0.001)
    expected = 0 if death == "removed" else 1
    assert other.sweep([seen.append]) == len(seen) == expected
    assert dump(client) == {}


def test_a_late_mark_does_not_make_due_what_is_claimed(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    late = open_store()
    store.create_session("s", ttl=1)
    late.touch_session("s")
    clock.advance(1)
    seen: list[object] = []

    def hook(expired: ExpiredSession) -> None:
        seen.append(expired)
        late.parts.index.flush()
        assert late.sweep([hook]) == 0

    assert store.sweep([hook]) == len(seen) == 1


def test_what_a_slow_sweep_does_not_reach_is_free_for_others(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    for n in range(40):
        store.create_session(f"s{n}")
    clock.advance(TTL)
    assert store.sweep([lambda expired: clock.advance(3)]) == 1
    assert open_store().sweep() == 39


def test_losing_redis_ends_the_sweep_with_an_error() -> None:
    with RedisServer() as server, RedisSessionManager(RedisConfig(url=server.url)) as store:
        store.create_session("s", ttl=0.001)
        wait_until_due(store)
        with pytest.raises(StoreUnavailable):
            store.sweep([lambda expired: server.kill()])


@pytest.mark.parametrize("times", [1, 3])
def test_a_lost_reply_tells_nothing_twice(
    lossy_store: Store, proxy: Proxy, real_store: Store, times: int
) -> None:
    lossy_store.create_session("s", ttl=0.001, user_id="ada")
    wait_until_due(real_store)
    real_store.subscribe(["events:{s}"])
    proxy.lose_replies(times, matching="session_updates")  # those of the removal
    seen: list[ExpiredSession] = []
    assert lossy_store.sweep([seen.append]) == len(seen) == 1
    assert proxy.lost == times
    real_store.publish("events:{s}", "the end")
    heard = []
    for note in real_store.get_messages():
        heard.append(note["data"])
        if note["data"] == "the end":
            break
    assert heard == ["session_expired", "the end"]
    assert dump(real_store.client) == {}


def test_many_sweepers_run_each_hook_once(redis_url: str, open_store: OpenStore) -> None:
    stores = [RedisSessionManager(RedisConfig(url=redis_url)) for _ in range(8)]
    for n in range(200):
        stores[0].create_session(f"s{n}", ttl=0.001, user_id="ada")
    wait_until_due(stores[0])
    start = threading.Barrier(8)
    seen: list[str] = []
    counts: list[int] = []

    def work(store: Store) -> None:
        start.wait()
        while True:
            count = store.sweep([lambda expired: seen.append(expired.session_id)], limit=7)
            counts.append(count)
            if not count:
                return

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(seen) == Counter(f"s{n}" for n in range(200))
    assert sum(counts) == 200
    assert dump(stores[0].client) == {}
    for store in stores:
        store.disconnect()


# --- sessions that are renewed or made anew -------------------------------------------------------


def test_a_renewed_session_is_put_back_with_its_true_deadline(
    store: Store, open_store: OpenStore, client: redis.Redis, clock: ManualClock
) -> None:
    user = open_store()
    store.create_session("s")
    clock.advance(TTL - 1)
    user.touch_session("s")  # noted in that process; the index does not know it yet
    clock.advance(1)
    seen: list[object] = []
    assert store.sweep([seen.append]) == 0
    assert seen == []
    assert score(client) == round(clock.time() * 1000) + (TTL - 1) * 1000
    assert store.get_session("s") == {}
    clock.advance(TTL - 1)
    assert store.sweep([seen.append]) == len(seen) == 1


def test_a_session_made_anew_while_hooks_run_is_untouched(
    store: Store, open_store: OpenStore, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s", user_id="ada")
    clock.advance(TTL)

    def revive(expired: ExpiredSession) -> None:
        open_store().create_session("s", {"new": True}, user_id="bob")

    assert store.sweep([revive]) == 0
    assert store.get_session("s", user_id="bob") == {"new": True}
    assert len(store.list_sessions("bob")) == len(store.list_sessions()) == 1
    assert score(client) == round(clock.time() * 1000) + TTL * 1000
    clock.advance(TTL)
    assert store.sweep() == 1


def test_a_session_made_as_its_dead_entry_is_pruned_stays_in_the_indexes(
    store: Store,
    open_store: OpenStore,
    client: redis.Redis,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = round(clock.time() * 1000)
    store.parts.index.enter("s", "ada", now, now + 1)
    clock.advance(CLAIM + 1)
    prune = store.parts.index.prune

    def create_first(*args: Any) -> None:
        monkeypatch.undo()
        open_store().create_session("s", user_id="ada")
        prune(*args)

    monkeypatch.setattr(store.parts.index, "prune", create_first)
    assert store.sweep() == 0
    assert score(client) == round(clock.time() * 1000) + TTL * 1000
    assert len(store.list_sessions()) == len(store.list_sessions("ada")) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_session_made_anew_as_the_old_one_is_taken_out_stays_in_the_indexes(
    store: Store,
    open_store: OpenStore,
    client: redis.Redis,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Its creation sees the old entries, which are taken out before, or after, it is done."""
    other = open_store()
    store.create_session("s", user_id="ada")
    clock.advance(TTL)
    scripts = other.parts.core.scripts
    remove, run = store.parts.index.remove, scripts.run

    def create_first(*args: Any) -> None:
        other.create_session("s", user_id="ada")
        remove(*args)

    def remove_first(*args: Any, **options: Any) -> Any:
        assert store.sweep() == 1
        return run(*args, **options)

    if moment == "before":
        monkeypatch.setattr(store.parts.index, "remove", create_first)
        assert store.sweep() == 1
    else:
        monkeypatch.setattr(scripts, "run", remove_first)
        other.create_session("s", user_id="ada")
    assert len(store.list_sessions("ada")) == len(store.list_sessions()) == 1
    assert score(client) == round(clock.time() * 1000) + TTL * 1000


def test_a_shortened_life_is_known_to_the_sweep_at_once(store: Store, clock: ManualClock) -> None:
    store.create_session("s")
    store.extend_session_ttl("s", 5)
    clock.advance(5)
    assert store.sweep() == 1
