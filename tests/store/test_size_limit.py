"""max_session_size: a write that would exceed it is refused, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from miniagent_redis.errors import SessionTooLarge
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.words import OpenStore, said

Store = RedisSessionManager
MAX = 5000
LONG = "x" * MAX
HALF = "x" * (MAX // 2)


@pytest.fixture
def small(open_store: OpenStore) -> Store:
    store = open_store(max_session_size=MAX)
    store.create_session("s")
    return store


def refused(store: Store, client: redis.Redis, write: Callable[[], object]) -> SessionTooLarge:
    before = dump(client)
    with pytest.raises(SessionTooLarge) as caught:
        write()
    assert dump(client) == before
    assert caught.value.size > caught.value.limit == MAX
    return caught.value


def test_begin(small: Store, client: redis.Redis) -> None:
    error = refused(small, client, lambda: small.begin_turn("s", LONG))
    assert error.session_id == "s"
    assert "clear_history()" in str(error)


def test_begin_that_would_interrupt_leaves_the_running_turn(
    small: Store, client: redis.Redis
) -> None:
    running = small.begin_turn("s", "one")
    refused(small, client, lambda: small.begin_turn("s", LONG, on_busy="interrupt"))
    small.commit_turn(running, [said("1")])


def test_begin_leaves_room_for_an_answer(open_store: OpenStore, client: redis.Redis) -> None:
    store = open_store(max_session_size=100_000)
    store.create_session("s")
    store.append_to_thread("s", Message("user", "x" * 97_000))
    before = dump(client)
    with pytest.raises(SessionTooLarge) as caught:
        store.begin_turn("s", "short")
    assert dump(client) == before
    assert caught.value.size > caught.value.limit == 100_000
    store.append_to_thread("s", Message("user", "short"))


def test_stage_counts_what_is_staged_before(small: Store, client: redis.Redis) -> None:
    turn = small.begin_turn("s", "one")
    refused(small, client, lambda: small.stage_step(turn, [said(LONG)]))
    staged = small.stage_step(turn, [said(HALF)])
    refused(small, client, lambda: small.stage_step(staged, [said(HALF)]))


def test_commit_counts_steps_and_answer(small: Store, client: redis.Redis) -> None:
    turn = small.stage_step(small.begin_turn("s", "one"), [said(HALF)])
    refused(small, client, lambda: small.commit_turn(turn, [said(HALF)]))
    assert small.commit_turn(turn, [said("short")])


def test_append_is_all_or_none(small: Store, client: redis.Redis) -> None:
    refused(small, client, lambda: small.append_to_thread("s", Message("user", LONG)))
    several = [Message("user", HALF), Message("user", HALF)]
    refused(small, client, lambda: small.append_to_thread("s", several))


def test_the_document_of_a_session(small: Store, client: redis.Redis) -> None:
    data: Any = {"a": LONG}
    refused(small, client, lambda: small.create_session("t", data))
    refused(small, client, lambda: small.update_session("s", data))
    assert small.list_sessions()[0]["session_id"] == "s"


def test_the_thread_may_be_filled_to_the_last_byte(open_store: OpenStore) -> None:
    message = Message("user", "x", created_at=1.0)
    probe = open_store()
    probe.create_session("probe")
    probe.append_to_thread("probe", message)
    size = probe.session_state("probe").bytes
    exact = open_store(max_session_size=3 * size)
    exact.create_session("s")
    for _ in range(3):
        exact.append_to_thread("s", message)
    assert exact.session_state("s").bytes == 3 * size
    with pytest.raises(SessionTooLarge):
        exact.append_to_thread("s", message)
    with pytest.raises(SessionTooLarge):
        exact.begin_turn("s", "x")


def test_a_full_session_has_room_again_once_it_is_cleared(small: Store) -> None:
    small.append_to_thread("s", Message("user", HALF))
    with pytest.raises(SessionTooLarge):
        small.append_to_thread("s", Message("user", HALF))
    small.clear_thread("s")
    assert small.session_state("s").bytes == 0
    small.append_to_thread("s", Message("user", HALF))


def test_megabytes_come_back_as_they_are(open_store: OpenStore) -> None:
    store = open_store(max_session_size=20_000_000)
    store.create_session("s")
    text = "é\x00😀" * 500_000
    store.commit_turn(store.begin_turn("s", text), [said(text)])
    assert [m.text for m in store.load_thread("s").messages] == [text, text]
