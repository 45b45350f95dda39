"""What is looked for in a long thread is read from its end on, and no further than it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from miniagent_redis import Message, RedisSessionManager
from miniagent_redis.models import ThreadSlice
from miniagent_redis.store.operations.thread import Piece

LONG = 3000


def say(store: RedisSessionManager, count: int) -> None:
    store.append_to_thread("s", [Message("user", f"m{n}") for n in range(count)])


def turn(store: RedisSessionManager, turn_id: str) -> None:
    begun = store.begin_turn("s", "Hi", turn_id=turn_id)
    store.commit_turn(begun, [Message("assistant", "Hello")])


@pytest.fixture
def long(store: RedisSessionManager) -> RedisSessionManager:
    """Return a store whose thread has a turn in front of its last 500 messages."""
    store.create_session("s")
    say(store, LONG)
    turn(store, "t")
    say(store, 500)
    return store


@pytest.fixture
def read(long: RedisSessionManager, monkeypatch: pytest.MonkeyPatch) -> list[Piece]:
    """Return a list of what is read from the thread."""
    pieces: list[Piece] = []
    slice_of: Callable[[str, Piece, bytes], ThreadSlice] = long.parts.threads.slice_of

    def note(session_id: str, piece: Piece, mark: bytes) -> ThreadSlice:
        pieces.append(piece)
        return slice_of(session_id, piece, mark)

    monkeypatch.setattr(long.parts.threads, "slice_of", note)
    return pieces


def test_no_more_is_read_than_up_to_the_turn(long: RedisSessionManager, read: list[Piece]) -> None:
    ids, version = long.parts.threads.find_turn("s", "t", None, None)
    assert len(ids) == 2
    assert version == long.session_state("s").version
    assert [len(piece.records) for piece in read] == [100, 1000]
    assert long.parts.threads.has_stored("s", "t", None)
    assert [m.text for m in long.parts.open_turns.stored("s", "t")] == ["Hi", "Hello"]


def test_what_is_not_there_is_looked_for_everywhere_a_page_at_a_time(
    long: RedisSessionManager, read: list[Piece]
) -> None:
    assert not long.parts.threads.has_stored("s", "none", None)
    assert sum(len(piece.records) for piece in read) == LONG + 502
    assert max(len(piece.records) for piece in read) == 1000


def test_a_turn_across_two_pages_is_found_whole(store: RedisSessionManager) -> None:
    store.create_session("s")
    turn(store, "t")
    say(store, 99)
    assert [m.text for m in store.parts.open_turns.stored("s", "t")] == ["Hi", "Hello"]


def test_a_commit_of_which_nobody_knows_reads_what_came_since_it_was_begun(
    long: RedisSessionManager, read: list[Piece]
) -> None:
    begun = long.begin_turn("s", "And?")
    answer = Message("assistant", "So.")
    version = long.commit_turn(begun, [answer])
    say(long, 10)
    read.clear()
    assert long.parts.storing._look_up(begun, [answer]) > version
    assert [len(piece.records) for piece in read] == [12]


def test_what_was_cleared_in_between_is_looked_for_anew(
    long: RedisSessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, calls = long.parts.threads.load_tail, list[int]()

    def clear_first(session_id: str, limit: int, **settings: object) -> ThreadSlice:
        calls.append(limit)
        if len(calls) == 2:
            long.clear_thread("s")
            turn(long, "u")
        return load(session_id, limit, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(long.parts.threads, "load_tail", clear_first)
    ids, version = long.parts.threads.find_turn("s", "u", None, None)
    assert len(ids) == 2
    assert version == long.session_state("s").version
    assert calls == [100, 1000, 100]
