"""A server that lost the end of a thread: nobody is given the rest of one that is not there."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
import redis

from miniagent_redis.errors import InvalidInput
from miniagent_redis.models import Message, ThreadSlice
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.rollback import remember
from tests.support.words import OpenStore, said

Store = RedisSessionManager


class PlainJson(RedisSessionManager):
    """Records without a checksum, whose last bytes are often the same."""

    def serialize(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def deserialize(self, data: bytes) -> Any:
        return json.loads(data)


class Pickled(RedisSessionManager):
    """Records that are no text."""

    def serialize(self, data: Any) -> bytes:
        return pickle.dumps(data)

    def deserialize(self, data: bytes) -> Any:
        return pickle.loads(data)


def fill(store: Store, *texts: str) -> None:
    metadata = {"finish_reason": "stop"}
    store.append_to_thread("s", [Message("user", text, metadata=metadata) for text in texts])


def texts(found: ThreadSlice) -> list[str]:
    return [message.text for message in found.messages]


@pytest.fixture(params=[RedisSessionManager, PlainJson, Pickled])
def any_store(open_store: OpenStore, request: pytest.FixtureRequest) -> Store:
    return open_store(request.param)


@pytest.mark.parametrize("new", [(), ("x",), ("x", "y"), ("x", "y", "z")])
def test_who_knows_of_messages_that_were_lost_is_given_the_thread_from_its_beginning(
    any_store: Store, clock: ManualClock, new: tuple[str, ...]
) -> None:
    """Whether it has fewer messages now, as many or more."""
    store = any_store
    store.create_session("s")
    fill(store, "1", "2")
    roll_back = remember(store.client)
    fill(store, "a", "b")
    known = store.load_thread("s")
    roll_back()
    for text in new:
        fill(store, text)
    there = ["1", "2", *new]
    have: Any = {"epoch": known.epoch, "mark": known.mark}
    found = store.load_thread("s", start=known.count, **have)
    assert (found.start, texts(found)) == (0, there)
    turn = store.begin_turn("s", "next", count=known.count, **have)
    assert (turn.thread.start, texts(turn.thread)) == (0, there)
    clock.advance(31)
    resumed = store.resume_turn("s", count=known.count, **have)
    assert resumed is not None
    assert (resumed.thread.start, texts(resumed.thread)) == (0, there)


def test_what_is_still_there_is_not_given_again(any_store: Store) -> None:
    store = any_store
    store.create_session("s")
    fill(store, "1", "2")
    known = store.load_thread("s")
    fill(store, "3")
    new = store.load_thread("s", epoch=known.epoch, start=2, mark=known.mark)
    assert (new.start, texts(new)) == (2, ["3"])
    none = store.load_thread("s", epoch=known.epoch, start=3, mark=new.mark)
    assert (none.start, none.messages, none.mark) == (3, (), new.mark)
    turn = store.begin_turn("s", "x", epoch=known.epoch, count=3, mark=none.mark)
    assert (turn.thread.start, turn.thread.messages) == (3, ())


def test_a_tail_that_is_lost_between_two_pages_is_not_in_what_is_loaded(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_session("s")
    fill(store, *map(str, range(500)))
    roll_back = remember(client)
    fill(store, *map(str, range(500, 1500)))
    real = store.parts.threads.slice_of

    def lose_the_rest(*args: Any) -> ThreadSlice:
        monkeypatch.undo()
        found = real(*args)
        roll_back()
        fill(store, *(f"new {n}" for n in range(1000)))
        return found

    monkeypatch.setattr(store.parts.threads, "slice_of", lose_the_rest)
    there = [*map(str, range(500)), *(f"new {n}" for n in range(1000))]
    assert texts(store.load_thread("s")) == there


def test_without_a_mark_epoch_and_count_are_believed(store: Store) -> None:
    store.create_session("s")
    fill(store, "1")
    known = store.load_thread("s")
    fill(store, "2")
    assert texts(store.load_thread("s", epoch=known.epoch, start=1)) == ["2"]
    assert texts(store.load_thread("s", epoch=known.epoch, start=9)) == ["1", "2"]


def test_what_is_no_mark_is_refused(store: Store) -> None:
    store.create_session("s")
    mark: Any = "x"
    with pytest.raises(InvalidInput, match="mark"):
        store.load_thread("s", mark=mark)
    with pytest.raises(InvalidInput, match="mark"):
        store.begin_turn("s", "x", mark=mark)
    assert store.session_state("s").open_turn is None


def test_the_version_after_a_write_is_a_number(store: Store) -> None:
    store.create_session("s")
    version = store.append_to_thread("s", Message("user", "x"))
    assert (version, json.dumps({"version": version})) == (2, '{"version": 2}')
    version = store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    assert f"{version} {pickle.loads(pickle.dumps(version))}" == "3 3"
