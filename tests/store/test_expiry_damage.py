"""Expiry of what is damaged, evicted or has no session: no hook is lost, and nothing is left."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis.models import ExpiredSession, Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.expiring import CLAIM, KEYS, TTL, use
from tests.support.stored import dump
from tests.support.words import OpenStore

Store = RedisSessionManager
INDEXES = {KEYS.deadlines(KEYS.shard("s")), KEYS.sessions(KEYS.shard("s"))}


def test_a_session_whose_document_is_gone_still_has_its_hooks(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s", user_id="ada")
    use(store)
    client.delete("session:{s}")
    clock.advance(TTL)
    seen: list[ExpiredSession] = []
    assert store.sweep([seen.append]) == 1
    assert len(seen[0].messages) == 4
    assert dump(client) == {}


def test_a_session_that_was_evicted_is_pruned_without_a_word(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s")
    use(store)
    store.parts.index.flush()
    client.delete("session:{s}", "metadata:{s}", "thread:{s}")
    clock.advance(TTL + 60)
    seen: list[ExpiredSession] = []
    assert store.sweep([seen.append]) == 0
    assert seen == []
    assert dump(client) == {}


def test_an_entry_without_a_session_is_pruned_but_not_a_fresh_one(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    now = round(clock.time() * 1000)
    store.parts.index.enter("s", None, now, now + 10)
    clock.advance(1)
    assert store.sweep() == 0
    assert set(dump(client)) == INDEXES
    clock.advance(CLAIM + 1)
    assert store.sweep() == 0
    assert dump(client) == {}


def test_a_session_created_after_its_entry_was_seen_is_kept(
    store: Store, open_store: OpenStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = open_store()
    enter = slow.parts.index.enter

    def enter_and_pause(*args: Any) -> tuple[bool, int]:
        is_new = enter(*args)
        for _ in range(3):
            clock.advance(CLAIM + 1)
            store.sweep()
        return is_new

    monkeypatch.setattr(slow.parts.index, "enter", enter_and_pause)
    slow.create_session("s", ttl=1, user_id="ada")
    assert len(store.list_sessions()) == len(store.list_sessions("ada")) == 1
    clock.advance(1)
    assert store.sweep() == 1


def test_a_listing_prunes_old_entries_that_no_session_stands_behind(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    now = round(clock.time() * 1000)
    store.parts.index.enter("s", "ada", now, now + 10**9)
    key = KEYS.user_sessions("ada")
    for age, left in ((0, 1), (59, 1), (2, 0)):
        clock.advance(age)
        assert list(store.list_sessions("ada")) == []
        assert client.zcard(key) == left
    assert list(store.list_sessions()) == []
    assert client.zcard(KEYS.sessions(KEYS.shard("s"))) == 0


def test_unreadable_records_are_set_aside_and_the_session_swept(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("s")
    store.append_to_thread("s", [Message("user", "a"), Message("user", "b")])
    client.set("session:{s}", b"\xff junk", keepttl=True)
    client.lset("thread:{s}", 0, "junk")  # type: ignore[misc]
    clock.advance(TTL)
    seen: list[ExpiredSession] = []
    assert store.sweep([seen.append]) == 1
    assert [m.text for m in seen[0].messages] == ["b"]
    assert seen[0].unreadable[0].raw == b"junk"
    assert dump(client) == {}


def test_a_foreign_type_at_one_session_does_not_stop_the_others(
    store: Store, client: redis.Redis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(5):
        store.create_session(f"s{n}")
    client.delete("thread:{s2}")
    client.set("thread:{s2}", "mine")
    clock.advance(TTL)
    assert store.sweep() == 4
    assert "the key thread:{s2} holds a string" in caplog.text
    assert client.get("thread:{s2}") == b"mine"
