"""Searching in the messages of one user, so much in a call."""

from __future__ import annotations

from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, Page
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import search
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.words import OpenStore, call, result, said

Store = RedisSessionManager


def tell(store: Store, session_id: str, *texts: str, user_id: str = "ada") -> None:
    if store.get_session(session_id) is None:
        store.create_session(session_id, user_id=user_id)
    store.append_to_thread(session_id, [Message("user", text) for text in texts])


def found(page: Page[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(each["session_id"], each["position"]) for each in page]


def all_pages(store: Store, text: str, limit: int) -> list[tuple[str, int]]:
    cursor, hits = None, list[tuple[str, int]]()
    for _ in range(1000):
        page = store.search(text, "ada", limit, cursor)
        assert len(page) <= limit
        hits += found(page)
        if (cursor := page.cursor) is None:
            return hits
    raise AssertionError("it never ends")


def test_all_words_must_occur_whatever_their_case(store: Store) -> None:
    tell(store, "s", "The Straße to Rome", "Rome", "all roads lead to ROME, each street too")
    assert found(store.search("rome", "ada")) == [("s", 2), ("s", 1), ("s", 0)]
    assert found(store.search("ROME STRASSE", "ada")) == [("s", 0)]
    assert found(store.search("street  rom", "ada")) == [("s", 2)]
    assert found(store.search("nothing", "ada")) == []


def test_a_hit_tells_where_it_is(store: Store) -> None:
    store.create_session("s", user_id="ada")
    turn = store.begin_turn("s", "one", turn_id="t1")
    text = "x " * 200 + "the\nneedle " + "y " * 200
    store.commit_turn(turn, [call("1"), result("1", "needle"), said(text)])
    (hit,) = store.search("needle", "ada")
    message = store.load_thread("s").messages[3]
    assert (hit["session_id"], hit["message_id"], hit["turn_id"]) == ("s", message.id, "t1")
    assert (hit["position"], hit["role"]) == (3, "assistant")
    assert hit["created_at"].endswith("+00:00")
    assert hit["snippet"].startswith("…x x")
    assert "the needle y" in hit["snippet"]
    assert len(hit["snippet"]) <= 125


def test_the_newest_session_comes_first_and_the_newest_message_in_it(
    store: Store, clock: ManualClock
) -> None:
    for name in ("old", "new"):
        tell(store, name, "tea", "coffee", "tea")
        clock.advance(1)
    assert found(store.search("tea", "ada")) == [("new", 2), ("new", 0), ("old", 2), ("old", 0)]
    tell(store, "old", "more tea")
    assert found(store.search("tea", "ada", 1)) == [("old", 3)]


def test_nothing_of_others_is_found(store: Store, clock: ManualClock) -> None:
    tell(store, "hers", "secret", user_id="ada")
    tell(store, "nobody's", "secret", user_id="bo")
    assert found(store.search("secret", "eve")) == []
    store.client.zadd("user:{eve}:sessions", {"hers": 1})  # her index is damaged
    assert found(store.search("secret", "eve")) == []
    for bad in (None, "", 5):
        with pytest.raises(InvalidInput):
            store.search("secret", bad)  # type: ignore[arg-type]
    clock.advance(store.config.session_ttl or 0)
    assert found(store.search("secret", "ada")) == []


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_the_cursor_leads_to_all_of_them_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(search, "_TOGETHER", 2)
    monkeypatch.setattr(search, "_FIRST", 3)
    monkeypatch.setattr(search, "_PAGE", 2)
    wanted = []
    for number in range(5):
        tell(store, f"s{number}", *("tea" if n % 2 else "coffee" for n in range(12)))
        wanted += [(f"s{number}", n) for n in range(1, 12, 2)]
    hits = all_pages(store, "tea", limit)
    assert sorted(hits) == wanted
    monkeypatch.setattr(search, "MOST_BYTES", 1)  # one read a call
    monkeypatch.setattr(search, "_FIRST_BYTES", 1)
    monkeypatch.setattr(search, "_PAGE_BYTES", 1)
    assert all_pages(store, "tea", limit) == hits


def test_a_page_without_hits_leads_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_SESSIONS", 2)
    monkeypatch.setattr(search, "_TOGETHER", 2)
    for number in range(5):
        tell(store, f"s{number}", "tea" if number == 0 else "coffee")
    page = store.search("tea", "ada")
    assert (found(page), page.cursor is None) == ([], False)
    assert all_pages(store, "tea", 20) == [("s0", 0)]


def test_what_changes_between_two_pages_breaks_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(store, "s", *["tea"] * 6)
    page = store.search("tea", "ada", 2)
    store.truncate_thread("s", 3)
    assert found(store.search("tea", "ada", 2, page.cursor)) == [("s", 2), ("s", 1)]
    store.delete_session("s")
    assert found(store.search("tea", "ada", 2, page.cursor)) == []


@pytest.mark.parametrize("cursor", ["", "x", "bnVsbA==", "WzEsMl0=", 5])
def test_a_cursor_of_somebody_s_own_is_refused(store: Store, cursor: Any) -> None:
    with pytest.raises(InvalidInput):
        store.search("tea", "ada", 20, cursor)


@pytest.mark.parametrize("text", ["", "  ", None, 5])
def test_something_must_be_searched_for(store: Store, text: Any) -> None:
    with pytest.raises(InvalidInput):
        store.search(text, "ada")


def test_what_cannot_be_read_is_passed_over(store: Store) -> None:
    tell(store, "s", "tea", "more tea")
    tell(store, "t", "tea too")
    store.client.lset("thread:{s}", 1, '{"v":1,"role":"us')  # type: ignore[arg-type]
    assert sorted(found(store.search("tea", "ada"))) == [("s", 0), ("t", 0)]
    store.client.rpop("thread:{t}")
    store.client.hset("metadata:{s}", "deadline", "x")
    assert found(store.search("tea", "ada")) == []


def test_trimmed_threads_keep_their_positions(open_store: OpenStore) -> None:
    store = open_store(max_session_size=2_000, on_full="trim")
    tell(store, "s", *[f"tea {n} " + "x" * 300 for n in range(4)])
    for n in range(4, 8):
        tell(store, "s", f"tea {n} " + "x" * 300)
    head = store.load_thread("s").head
    assert head > 0
    assert found(store.search("tea", "ada")) == [("s", n) for n in range(7, head - 1, -1)]


def test_many_small_sessions_cost_few_round_trips(lossy_store: Store, proxy: Proxy) -> None:
    for number in range(64):
        tell(lossy_store, f"s{number}", "coffee")
    lossy_store.search("tea", "ada")
    before = proxy.round_trips
    assert lossy_store.search("tea", "ada").cursor is None
    assert proxy.round_trips - before <= 2 * 64 // 16 + 1
