"""Titles: a session's name, which is no use of it and no version of its own."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from miniagent_redis.errors import InvalidInput, SessionBusy
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.waiting import LIMIT
from tests.support.words import OpenStore

Store = RedisSessionManager


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s", {"a": 1}, user_id="ada")


def title(store: Store) -> str | None:
    (listed,) = store.list_sessions("ada")
    assert listed["title"] == store.session_state("s").title
    found: str | None = listed["title"]
    return found


def test_a_session_can_be_given_a_title(store: Store) -> None:
    assert title(store) is None
    assert store.set_title("s", "Tea in Ürümqi", user_id="ada")
    assert title(store) == "Tea in Ürümqi"
    assert store.set_title("s", None)
    assert title(store) is None
    assert store.get_session("s") == {"a": 1}


def test_only_its_owner_gives_it_one(store: Store) -> None:
    assert not store.set_title("s", "mine", user_id="eve")
    assert not store.set_title("none", "mine")
    assert title(store) is None


@pytest.mark.parametrize("bad", ["", "  ", "x" * 201, 5, b"x", ["x"]])
def test_what_is_no_title(store: Store, bad: Any) -> None:
    with pytest.raises(InvalidInput):
        store.set_title("s", bad)


def test_it_is_no_use_of_the_session(store: Store, clock: ManualClock) -> None:
    before = store.session_state("s")
    clock.advance(10)
    store.set_title("s", "x")
    after = store.session_state("s")
    assert (after.version, after.last_activity, after.expires_at) == (
        before.version, before.last_activity, before.expires_at,
    )  # fmt: skip
    assert store.update_session("s", {"b": 1}, expected_version=before.version)
    clock.advance(store.config.session_ttl or 0)
    assert store.get_session("s") is None


def test_title_and_data_never_undo_each_other(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, sessions, read = open_store(), store.parts.sessions, store.parts.sessions.read
    todo: list[Any] = []

    def read_and_be_slow(*args: Any) -> Any:
        found = read(*args)
        while todo:
            todo.pop()()
        return found

    monkeypatch.setattr(sessions, "read", read_and_be_slow)
    todo[:] = [lambda: other.set_title("s", "x")]
    assert store.update_session("s", {"b": 2})
    todo[:] = [lambda: other.set_title("s", "y")]
    assert store.patch_session("s", {"c": 3})
    assert (title(store), store.get_session("s")) == ("y", {"b": 2, "c": 3})
    todo[:] = [lambda: other.update_session("s", {"d": 4})]
    assert store.set_title("s", "z")
    todo[:] = [lambda: other.set_title("s", "not this one")]
    assert store.set_title("s", "this one")
    assert (title(store), store.get_session("s")) == ("this one", {"d": 4})


def test_where_others_are_always_faster_the_session_is_busy(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, sessions, read = open_store(), store.parts.sessions, store.parts.sessions.read

    def read_and_be_slow(*args: Any) -> Any:
        found = read(*args)
        assert other.set_title("s", "theirs")
        return found

    monkeypatch.setattr(sessions, "read", read_and_be_slow)
    with pytest.raises(SessionBusy):
        store.set_title("s", "ours")
    assert title(store) == "theirs"


def test_a_first_title_never_takes_the_place_of_another(store: Store) -> None:
    titles, epoch = store.parts.titles, store.load_thread("s").epoch
    titles.note("s", "first", epoch)
    titles.write()
    assert title(store) == "first"
    assert titles.give_first("s", "second", epoch)  # nobody has given the first one
    store.set_title("s", "third")
    assert not titles.give_first("s", "fourth", epoch)
    titles.take_back("s")
    assert title(store) == "third"
    store.set_title("s", None)
    assert not titles.give_first("s", "second", epoch)  # somebody took it away
    assert title(store) is None
    titles.note("none", "of a session that has ended", epoch)
    titles.write()


def test_a_first_title_is_not_given_to_what_has_other_messages_by_now(store: Store) -> None:
    """It has words of one who is perhaps another one, or who has had them forgotten."""
    titles, epoch = store.parts.titles, store.load_thread("s").epoch
    titles.note("s", "words of ada", epoch)
    store.delete_session("s")
    store.create_session("s", user_id="bob")
    titles.write()
    assert not titles.give_first("s", "words of ada", epoch)
    assert store.session_state("s").title is None


def test_a_title_moves_and_is_forked_with_its_session(store: Store) -> None:
    store.set_title("s", "x")
    moved = store.renew_session_id("s")
    assert store.session_state(moved).title == "x"
    assert store.session_state(store.fork_session(moved)).title == "x"
    assert store.session_state(store.fork_session(moved, title="y")).title == "y"


def test_a_signal_handler_in_the_midst_of_a_note_may_shut_the_store_down(store: Store) -> None:
    class Interrupted(dict[str, tuple[str, int]]):
        def __setitem__(self, key: str, value: tuple[str, int]) -> None:
            super().__setitem__(key, value)
            titles.flush()

    titles = store.parts.titles
    titles._noted = Interrupted()
    noted = ("s", "first", store.load_thread("s").epoch)
    noting = threading.Thread(target=titles.note, args=noted, daemon=True)
    noting.start()
    noting.join(LIMIT / 6)
    assert not noting.is_alive()
    assert title(store) == "first"
