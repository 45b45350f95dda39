"""list_sessions: the most recently used first, page by page, without gap or double."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from miniagent_redis.config.redis import RedisConfig
from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.keys import SHARDS
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.stored import watched
from tests.support.words import OpenStore, said

Store = RedisSessionManager


def ids(page: Any) -> list[str]:
    return [entry["session_id"] for entry in page]


def all_pages(store: Store, user: str | None = None, limit: int = 7) -> list[str]:
    found: list[str] = []
    cursor = None
    for _ in range(1000):
        page = store.list_sessions(user, limit, cursor)
        assert len(page) <= limit
        found += ids(page)
        cursor = page.cursor
        if cursor is None:
            return found
    raise AssertionError("the pages have no end")


def test_no_sessions(store: Store) -> None:
    page = store.list_sessions()
    assert (list(page), page.cursor) == ([], None)
    assert list(store.list_sessions("ada")) == []


def test_an_entry_tells_what_a_person_wants_to_know(store: Store, clock: ManualClock) -> None:
    store.create_session("s", user_id="ada", agent_name="Bot", ttl=60)
    clock.advance(10)
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    (entry,) = store.list_sessions()
    assert entry.keys() == {
        "session_id", "user_id", "agent_name", "created_at", "last_activity", "expires_at",
        "message_count", "turns", "open_turn", "title", "forked_from",
    }  # fmt: skip
    assert (entry["session_id"], entry["user_id"], entry["agent_name"]) == ("s", "ada", "Bot")
    assert (entry["message_count"], entry["turns"], entry["open_turn"]) == (2, 1, None)
    assert entry["created_at"] < entry["last_activity"] < entry["expires_at"]
    assert entry["expires_at"].endswith("+00:00")


def test_the_most_recently_used_comes_first(store: Store, clock: ManualClock) -> None:
    for name in "abcde":
        store.create_session(name, user_id="ada")
        clock.advance(1)
    assert ids(store.list_sessions()) == list("edcba")
    uses = [
        lambda: store.append_to_thread("b", Message("user", "x")),
        lambda: store.commit_turn(store.begin_turn("d", "x"), [said("y")]),
        lambda: store.touch_session("a"),
        lambda: store.update_session("c", {}),
    ]
    for use in uses:
        use()
        clock.advance(1)
    assert ids(store.list_sessions()) == list("cadbe")
    assert ids(store.list_sessions("ada")) == list("cadbe")


def test_a_session_made_anew_is_listed_as_new(
    open_store: OpenStore, store: Store, clock: ManualClock
) -> None:
    store.create_session("old", ttl=5)
    clock.advance(10)
    store.create_session("between")
    clock.advance(10)
    store.create_session("old")
    assert ids(store.list_sessions()) == ["old", "between"]


def test_what_one_instance_did_is_listed_by_another(store: Store, open_store: OpenStore) -> None:
    other = open_store()
    store.create_session("s", user_id="ada")
    assert ids(other.list_sessions()) == ids(other.list_sessions("ada")) == ["s"]
    store.append_to_thread("s", Message("user", "x"))
    assert other.list_sessions()[0]["message_count"] == 1
    store.delete_session("s")
    assert list(other.list_sessions()) == []


def test_pages_end_and_have_no_gap_and_no_double(store: Store, clock: ManualClock) -> None:
    for n in range(30):
        store.create_session(f"s{n:02}", user_id="ada")
        clock.advance(0.001 if n % 3 else 0)  # some share their millisecond
    for user in (None, "ada"):
        for limit in (1, 2, 7, 30, 31, 1000):
            found = all_pages(store, user, limit)
            assert sorted(found) == [f"s{n:02}" for n in range(30)], (user, limit)


def test_sessions_of_one_millisecond_are_paged_like_others(store: Store) -> None:
    names = [f"s{n:02}" for n in range(60)]
    for name in names:
        store.create_session(name, user_id="ada")
    assert sorted(all_pages(store, None, 7)) == sorted(all_pages(store, "ada", 7)) == names


@pytest.mark.parametrize("user", [None, "ada"])
def test_sessions_created_while_one_pages_open_no_gap(store: Store, user: str | None) -> None:
    names = {f"m{n:03}" for n in range(30)}
    for name in names:
        store.create_session(name, user_id="ada")
    found: list[str] = []
    cursor = None
    for round_ in range(10):
        page = store.list_sessions(user, 7, cursor)
        found += ids(page)
        cursor = page.cursor
        if cursor is None:
            break
        for n in range(16):  # in the same millisecond, so some sort before and some behind
            store.create_session(f"{'az'[n % 2]}-{round_}-{n}", user_id="ada")
    else:
        found += all_pages_from(store, user, cursor)
    assert names <= set(found)
    assert len(found) == len(set(found))


def all_pages_from(store: Store, user: str | None, cursor: str | None) -> list[str]:
    found: list[str] = []
    while cursor is not None:
        page = store.list_sessions(user, 1000, cursor)
        found += ids(page)
        cursor = page.cursor
    return found


def test_sessions_that_end_while_one_pages_open_no_gap(store: Store) -> None:
    names = [f"s{n:02}" for n in range(60)]
    for name in names:
        store.create_session(name, user_id="ada")
    found: list[str] = []
    cursor = None
    while True:
        page = store.list_sessions("ada", 7, cursor)
        found += ids(page)
        for name in ids(page)[::2]:
            store.delete_session(name)
        if (cursor := page.cursor) is None:
            break
    assert sorted(found) == names


def test_entries_without_a_session_are_skipped(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    for n in range(30):
        store.create_session(f"s{n:02}", user_id="ada", ttl=5 if n % 3 == 0 else 3600)
        clock.advance(0.01)
    for n in range(1, 30, 3):
        client.delete(f"session:{{s{n:02}}}")  # as if the server had evicted it
    clock.advance(5)
    alive = [f"s{n:02}" for n in range(29, 0, -3)]
    assert all_pages(store, None, 4) == alive
    assert all_pages(store, "ada", 4) == alive
    assert len(store.list_sessions("ada", 10)) == 10


@settings(max_examples=25, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.sampled_from(["ada", "bob", None]), st.integers(0, 2)), max_size=15),
    st.integers(1, 9),
)
def test_any_sessions_are_listed_like_a_sorted_list(
    memory: Store, sessions: list[tuple[str | None, int]], limit: int
) -> None:
    memory.client.flushdb()
    clock = ManualClock()
    memory = RedisSessionManager(memory.config, clock=clock)
    expected = []
    for n, (user, pause) in enumerate(sessions):
        clock.advance(pause / 1000)
        memory.create_session(f"s{n}", user_id=user)
        expected.append((round(clock.time() * 1000), f"s{n}", user))
    expected.sort(reverse=True)
    assert all_pages(memory, None, limit) == [name for _, name, _ in expected]
    for user in ("ada", "bob"):
        assert all_pages(memory, user, limit) == [name for _, name, u in expected if u == user]


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, "5", None, True])
def test_a_bad_limit_is_refused(store: Store, limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        store.list_sessions(None, limit)


def forged(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "", "x", "é", "AAAA", 5, b"x", forged(), forged(1), forged("a", "b", "c"),
        forged(float("nan"), "a", 0), forged(1, None, 0), forged(1, "a", -1), forged(1, "a", 1e9),
        forged(1, "", 0), forged(1, "a", True),
        forged([], "a", 0), base64.urlsafe_b64encode(b"null").decode(), forged(10**400, "a", 0),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
    ],
    ids=lambda cursor: repr(cursor)[:40],
)  # fmt: skip
def test_a_cursor_that_was_not_given_out_is_refused(store: Store, cursor: Any) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        store.list_sessions(None, 5, cursor)


def test_a_thousand_sessions_take_two_round_trips_and_no_scan(proxy: Proxy, redis_url: str) -> None:
    with Store(RedisConfig(url=proxy.url)) as store:
        for n in range(1000):
            store.create_session(f"s{n}", user_id="ada" if n % 2 else "bob")
        for user in (None, "ada"):
            before = proxy.round_trips
            first = store.list_sessions(user, 20)
            store.list_sessions(user, 20, first.cursor)
            assert proxy.round_trips - before == 2 + 2
        for user in (None, "ada"):
            with watched(store.client) as sent:
                store.list_sessions(user, 20)
            assert {command.split()[0] for command in sent} == {"ZRANGE", "GET", "HMGET"}
            assert len(sent) == (SHARDS if user is None else 1) + 40
        assert len(store.list_sessions(None, 1000)) == 1000
