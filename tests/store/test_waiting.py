"""A second message while a turn runs: wait, reject or interrupt."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from miniagent_redis.errors import InvalidInput, SessionBusy, SessionNotFound, TurnSuperseded
from miniagent_redis.models import OpenTurn
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store import turn_opening
from miniagent_redis.store import turn_queue as queue
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.stored import dump
from tests.support.waiting import let_time_pass, until
from tests.support.words import OpenStore, lines, said

Store = RedisSessionManager
LIMIT = 20.0


@pytest.fixture(autouse=True)
def session(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing but the session's channel can end a wait in time.
    monkeypatch.setattr(queue, "_LONGEST_WAIT", 60.0)
    store.create_session("s")


@pytest.fixture
def waiter(store: Store, clock: ManualClock) -> Iterator[Any]:
    """Yield a function that begins a turn in another thread and returns once that one waits."""
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        waiting = 0

        def begin(message: str, **options: Any) -> Future[OpenTurn]:
            nonlocal waiting
            future = pool.submit(store.begin_turn, "s", message, **options)
            waiting += 1
            stack.callback(let_time_pass, clock, 60, future.done)  # nobody waits for ever
            until(lambda: store.parts.core.connections.listening.count == waiting)
            return future

        yield begin


def test_reject_answers_at_once(store: Store, client: redis.Redis) -> None:
    store.begin_turn("s", "one")
    before = dump(client)
    with pytest.raises(SessionBusy) as caught:
        store.begin_turn("s", "two", on_busy="reject")
    assert 29.9 < caught.value.lease_remaining <= 30
    assert dump(client) == before


def test_a_wait_of_no_time_is_a_rejection(store: Store) -> None:
    store.begin_turn("s", "one")
    with pytest.raises(SessionBusy):
        store.begin_turn("s", "two", busy_timeout=0)


def test_interrupt_replaces_the_running_turn(store: Store) -> None:
    first = store.begin_turn("s", "one")
    second = store.begin_turn("s", "two", on_busy="interrupt")
    assert not second.resumed
    with pytest.raises(TurnSuperseded):
        store.commit_turn(first, [said("1")])
    store.commit_turn(second, [said("2")])
    assert lines(store) == ["user:two", "assistant:2"]


def test_a_commit_wakes_who_waits_and_gives_it_what_was_committed(
    store: Store, waiter: Any
) -> None:
    running = store.begin_turn("s", "one")
    waiting = waiter("two")
    store.commit_turn(running, [said("1")])
    turn = waiting.result(LIMIT)
    assert [m.text for m in turn.thread.messages] == ["one", "1"]
    store.commit_turn(turn, [said("2")])
    assert lines(store) == ["user:one", "assistant:1", "user:two", "assistant:2"]


def test_an_abort_wakes_who_waits(store: Store, waiter: Any) -> None:
    running = store.begin_turn("s", "one")
    waiting = waiter("two")
    store.abort_turn(running)
    assert not waiting.result(LIMIT).resumed


def test_a_cleared_history_wakes_who_waits(store: Store, waiter: Any) -> None:
    store.begin_turn("s", "one")
    waiting = waiter("two")
    store.clear_thread("s")
    assert waiting.result(LIMIT).thread.count == 0


def test_the_end_of_the_session_wakes_who_waits(store: Store, waiter: Any) -> None:
    store.begin_turn("s", "one")
    waiting = waiter("two")
    store.delete_session("s")
    with pytest.raises(SessionNotFound):
        waiting.result(LIMIT)


def test_who_waits_does_not_begin_in_a_session_that_is_made_anew(
    store: Store, waiter: Any, clock: ManualClock, client: Any
) -> None:
    store.begin_turn("s", "one")
    waiting = waiter("two")
    clock.advance(1)
    client.delete(*store.parts.core.keys.of_session("s"))  # which wakes nobody
    store.create_session("s", user_id="bob")
    with pytest.raises(SessionNotFound):
        waiting.result(LIMIT)
    assert lines(store) == []


def test_what_the_model_says_makes_nobody_try_again(
    store: Store, waiter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[object] = []

    def begin_turn(*args: Any, **options: Any) -> Any:
        tries.append(args)
        return operation(*args, **options)

    operation = vars(turn_opening)["begin_turn"]
    monkeypatch.setattr(turn_opening, "begin_turn", begin_turn)
    running = store.begin_turn("s", "one")
    waiting = waiter("two")
    until(lambda: len(tries) == 3)  # it found the session busy, and again once it listened
    for _ in range(20):
        running = store.tell_text(running, "x")
    running = store.stage_step(running, [said("1")])
    store.abort_turn(running)
    waiting.result(LIMIT)
    assert len(tries) == 4


def test_of_many_who_wait_each_has_its_turn_alone(store: Store, waiter: Any) -> None:
    running = store.begin_turn("s", "0")
    waiting = [waiter(str(n)) for n in range(1, 6)]
    store.commit_turn(running, [said("0")])
    while waiting:
        until(lambda: any(future.done() for future in waiting))
        (done,) = [future for future in waiting if future.done()]
        waiting.remove(done)
        turn = done.result()
        store.commit_turn(turn, [said(turn.staged[0].text)])
    asked = [line.partition(":")[2] for line in lines(store)]
    assert asked[::2] == asked[1::2]
    assert sorted(asked[::2]) == ["0", "1", "2", "3", "4", "5"]


def test_a_wait_ends_with_busy_timeout(
    store: Store, waiter: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_LONGEST_WAIT", 0.02)
    running = store.begin_turn("s", "one")
    waiting = waiter("two", busy_timeout=5)
    clock.advance(5)
    let_time_pass(clock, 0.02, waiting.done)
    with pytest.raises(SessionBusy, match=r"after waiting 5\.0 s"):
        waiting.result(LIMIT)
    store.commit_turn(running, [said("1")])
    assert lines(store) == ["user:one", "assistant:1"]


def test_who_waits_takes_over_when_the_lease_ends(
    store: Store, waiter: Any, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_LONGEST_WAIT", 0.02)
    store.begin_turn("s", "one")
    waiting = waiter("two", busy_timeout=60)
    clock.advance(30)
    let_time_pass(clock, 0.02, waiting.done)
    turn = waiting.result(LIMIT)
    assert turn.resumed
    assert turn.staged[0].text == "one"


def test_who_waits_connects_again_when_the_store_was_disconnected(
    store: Store, waiter: Any
) -> None:
    running = store.begin_turn("s", "one")
    waiting = waiter("two")
    store.disconnect()
    store.abort_turn(running)
    assert waiting.result(LIMIT).staged[0].text == "two"


def test_waiting_leaves_no_connection_behind(
    store: Store, client: redis.Redis, waiter: Any
) -> None:
    running = store.begin_turn("s", "one")
    waiting = waiter("two")
    store.commit_turn(running, [said("1")])
    waiting.result(LIMIT)
    until(lambda: client.pubsub_numsub("events:{s}")[0][1] == 0)


@pytest.mark.parametrize(
    "options",
    [
        {"on_busy": "maybe"},
        {"on_busy": None},
        {"busy_timeout": float("nan")},
        {"busy_timeout": "5"},
        {"busy_timeout": None},
        {"count": -1},
        {"count": 1.5},
        {"count": "x"},
        {"turn_id": "{}"},
        {"turn_id": "x" * 10_000},
        {"turn_id": 5},
    ],
    ids=lambda options: str(options)[:40],
)
def test_a_bad_option_is_refused_and_nothing_is_begun(
    store: Store, client: redis.Redis, options: dict[str, Any]
) -> None:
    before = dump(client)
    with pytest.raises(InvalidInput) as caught:
        store.begin_turn("s", "one", **options)
    assert len(str(caught.value)) < 400
    assert dump(client) == before


def test_two_stores_on_the_same_data_are_one_queue(store: Store, open_store: OpenStore) -> None:
    other = open_store()
    running = store.begin_turn("s", "one")
    with pytest.raises(SessionBusy):
        other.begin_turn("s", "two", on_busy="reject")
    store.commit_turn(running, [said("1")])
    assert other.begin_turn("s", "two", on_busy="reject").thread.count == 2
