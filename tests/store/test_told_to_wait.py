"""Who was told to wait, or to make room first, means the session that told so, and no later one.

All tries were answered, so it is known that nothing was done: the session is not there any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis.errors import SessionNotFound, TurnUncertain
from miniagent_redis.models import Message, new_id
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import turn_queue
from miniagent_redis.store.core import OnSession
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.room import Room
from tests.support.lost import losing
from tests.support.words import OpenStore, lines, said

Store = RedisSessionManager
WAIT = 5.0  # seconds; none of them is waited


def end_and_make_anew(store: Store) -> None:
    store.delete_session("s")
    store.create_session("s", {"of": "bob"})
    store.append_to_thread("s", said("bob's"))


@pytest.mark.parametrize("ticket", [None, "0" * 32])
def test_a_session_that_was_made_in_the_very_instant_is_neither_waited_for_nor_taken(
    real_store: Store, redis_url: str, ticket: str | None
) -> None:
    """By the microsecond: between the answer on the server and its arrival."""
    real_store.create_session("s")
    real_store.begin_turn("s", "theirs")

    def meanwhile() -> None:
        end_and_make_anew(real_store)
        real_store.begin_turn("s", "bob's again")

    with RedisSessionManager(real_store.config) as mine:
        mine.load_thread("s")
        with losing(mine, "begin_turn", meanwhile, arrives=True), pytest.raises(SessionNotFound):
            mine.begin_turn("s", "mine", busy_timeout=WAIT, ticket=ticket)
    assert lines(real_store) == ["assistant:bob's"]
    assert not real_store.client.exists("queue:{s}")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, clock: ManualClock, store: Store) -> None:
    """Have a process do something else between an answer and what it makes of it."""
    goes_on = OnSession.goes_on

    def later(on: OnSession) -> None:
        clock.advance(0.05)
        store.list_sessions()  # and hear what time it is by then
        store.load_thread("another")
        goes_on(on)

    store.create_session("another")
    monkeypatch.setattr(OnSession, "goes_on", later)


@pytest.fixture
def anew(open_store: OpenStore, store: Store, clock: ManualClock) -> Callable[[], None]:
    store.create_session("s")
    other = open_store()

    def act() -> None:
        clock.advance(0.002)
        end_and_make_anew(other)
        clock.advance(0.002)

    return act


@pytest.mark.usefixtures("slow")
def test_a_waiter_who_is_slow_to_hear_of_it_takes_no_session_that_was_made_meanwhile(
    store: Store, anew: Callable[[], None]
) -> None:
    store.begin_turn("s", "theirs")
    with losing(store, "begin_turn", anew, arrives=True), pytest.raises(SessionNotFound):
        store.begin_turn("s", "mine", busy_timeout=WAIT)
    assert store.session_state("s").open_turn is None


def test_a_waiter_whose_try_was_lost_is_told_at_once_that_nobody_knows(
    store: Store, open_store: OpenStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have begun in the session that was there. To ask again would tell nothing else."""
    other = open_store()

    def meanwhile() -> None:
        clock.advance(0.001)
        end_and_make_anew(other)

    store.create_session("s")
    monkeypatch.delattr(turn_queue.Patience, "pause")  # which waits, to ask again
    store.begin_turn("s", "theirs")
    attempts = list[object]()
    try_again = store.parts.turn_begin._opening._try_again

    def lost(*args: Any) -> Any:
        attempts.append(args)
        with losing(store, "begin_turn", meanwhile):
            return try_again(*args)

    monkeypatch.setattr(store.parts.turn_begin._opening, "_try_again", lost)
    with pytest.raises(TurnUncertain, match="made anew"):
        store.begin_turn("s", "mine", busy_timeout=WAIT)
    assert len(attempts) == 1


def test_who_gave_up_a_turn_that_was_there_begins_none_in_a_session_that_was_made_meanwhile(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    other = open_store()
    store.create_session("s")
    store.begin_turn("s", "it kills whoever works on it")
    for _ in range(3):
        clock.advance(31)
        assert other.resume_turn("s") is not None
    clock.advance(31)

    def meanwhile() -> None:
        clock.advance(0.001)
        end_and_make_anew(other)

    with losing(store, "begin_turn", meanwhile, arrives=True), pytest.raises(SessionNotFound):
        store.begin_turn("s", "mine")
    assert store.session_state("s").open_turn is None


def test_what_had_to_wait_for_room_is_not_put_into_a_session_that_was_made_meanwhile(
    open_store: OpenStore, anew: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Room.make

    def make_slowly(*args: Any, **options: Any) -> bool:
        anew()
        return make(*args, **options)

    monkeypatch.setattr(Room, "make", make_slowly)
    full = open_store(on_full="trim", max_session_size=4000)
    for _ in range(3):
        full.append_to_thread("s", Message("user", "x" * 1000))
    with pytest.raises(SessionNotFound):
        full.append_to_thread("s", Message("user", "x" * 1000), operation_id=new_id())
    assert lines(full) == ["assistant:bob's"]
