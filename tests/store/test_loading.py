"""Loading a thread: whole, what is new, the tail; positions that never lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from miniagent_redis.errors import (
    InvalidInput,
    RecordUnreadable,
    SessionBusy,
    SessionNotFound,
    TurnSuperseded,
)
from miniagent_redis.models import Message
from miniagent_redis.records.format import JsonFormat, Where
from miniagent_redis.records.frame import Unreadable
from miniagent_redis.records.json import Json
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from miniagent_redis.store.operations.thread import trim_thread
from miniagent_redis.store.threads import Enough
from tests.support.stored import watched
from tests.support.words import OpenStore, said

Store = RedisSessionManager
LEASE = 5.0  # seconds


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s")


def fill(store: Store, first: int, last: int) -> None:
    store.append_to_thread("s", [Message("user", str(n)) for n in range(first, last)])


def texts(found: Any) -> list[str]:
    return [m.text for m in found.messages]


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last)]


def test_an_empty_thread_is_empty(store: Store) -> None:
    found = store.load_thread("s")
    assert (found.count, found.start, found.messages, found.unreadable) == (0, 0, (), ())
    assert store.load_tail("s", 5).messages == ()


def test_only_what_is_new_is_loaded(store: Store) -> None:
    fill(store, 0, 3)
    known = store.load_thread("s")
    assert texts(store.load_thread("s", epoch=known.epoch, start=known.count)) == []
    fill(store, 3, 5)
    new = store.load_thread("s", epoch=known.epoch, start=known.count)
    assert (new.start, new.count, texts(new)) == (3, 5, ["3", "4"])
    assert new.indexes == (3, 4)
    turn = store.begin_turn("s", "x", epoch=known.epoch, count=known.count)
    assert (turn.thread.start, texts(turn.thread)) == (3, ["3", "4"])
    store.commit_turn(turn, [said("y")])
    turn = store.begin_turn("s", "z", epoch=turn.thread.epoch, count=turn.thread.count + 2)
    assert texts(turn.thread) == []


def test_after_a_clear_everything_of_the_new_epoch_is_loaded(store: Store) -> None:
    fill(store, 0, 3)
    known = store.load_thread("s")
    store.clear_thread("s")
    fill(store, 10, 15)
    new = store.load_thread("s", epoch=known.epoch, start=known.count)
    assert new.epoch != known.epoch
    assert (new.start, texts(new)) == (0, numbers(10, 15))
    turn = store.begin_turn("s", "x", epoch=known.epoch, count=known.count)
    assert (turn.thread.start, texts(turn.thread)) == (0, numbers(10, 15))


@pytest.mark.parametrize("ms", [0, 1, 1000])
def test_a_session_made_anew_with_the_same_id_is_not_taken_for_the_old_one(
    store: Store, clock: ManualClock, ms: int
) -> None:
    epochs = set()
    for round_ in range(4):
        fill(store, 0, 3)
        known = store.load_thread("s")
        epochs.add(known.epoch)
        if round_ % 2:
            store.clear_thread("s")
            epochs.add(store.load_thread("s").epoch)
        store.delete_session("s")
        clock.advance(ms / 1000)
        store.create_session("s")
        fill(store, 10, 14)
        new = store.load_thread("s", epoch=known.epoch, start=known.count)
        assert (new.start, texts(new)) == (0, numbers(10, 14))
    assert len(epochs) == 6


def test_a_session_that_expired_and_was_made_anew_has_another_epoch(
    store: Store, clock: ManualClock
) -> None:
    fill(store, 0, 3)
    known = store.load_thread("s")
    clock.advance(3601)
    store.create_session("s")
    new = store.load_thread("s", epoch=known.epoch, start=known.count)
    assert (new.count, new.start) == (0, 0)
    assert new.epoch != known.epoch


@pytest.mark.parametrize("count", [999, 1000, 1001, 2001])
def test_a_long_thread_comes_in_pages_without_gap_or_double(store: Store, count: int) -> None:
    fill(store, 0, count)
    found = store.load_thread("s")
    assert texts(found) == numbers(0, count)
    assert found.indexes == tuple(range(count))
    assert (found.start, found.count) == (0, count)
    assert texts(store.load_thread("s", start=count - 5)) == numbers(count - 5, count)
    turn = store.begin_turn("s", "x")
    assert texts(turn.thread) == numbers(0, count)


def test_the_tail_is_what_a_slice_of_the_thread_is(store: Store) -> None:
    fill(store, 0, 1345)
    for limit in (1, 7, 1000, 1001, 1200, 9999):
        for before in (None, 0, 6, 1300, 9999):
            found = store.load_tail("s", limit, before=before)
            stop = 1345 if before is None else min(before, 1345)
            assert texts(found) == numbers(max(0, stop - limit), stop), (limit, before)
            assert found.indexes == tuple(range(max(0, stop - limit), stop))
            assert found.count == 1345


def test_unreadable_records_keep_their_place_in_every_page(
    store: Store, client: redis.Redis
) -> None:
    fill(store, 0, 2100)
    for bad in (0, 999, 1000, 2099):
        client.lset("thread:{s}", bad, "torn")
    found = store.load_thread("s")
    assert [record.index for record in found.unreadable] == [0, 999, 1000, 2099]
    assert len(found.messages) == 2096
    assert [int(m.text) for m in found.messages] == list(found.indexes)
    tail = store.load_tail("s", 2, before=1001)
    assert (texts(tail), [r.index for r in tail.unreadable]) == ([], [999, 1000])


def test_a_clear_between_two_pages_gives_the_new_thread_whole(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clear() -> None:
        store.clear_thread("s")
        fill(store, 5000, 6200)

    fill(store, 0, 2500)
    reader = open_store()
    between_two_pages(reader, monkeypatch, clear)
    found = reader.load_thread("s")
    assert texts(found) == numbers(5000, 6200)
    assert (found.start, found.count) == (0, 1200)


def between_two_pages(
    reader: Store, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]
) -> None:
    """Have something done behind the first page that is read."""
    connections, pages = reader.parts.core.connections, list[Any]()
    load = connections.exchange

    def load_and_go_on(*args: Any, **options: Any) -> Any:
        pages.append(load(*args, **options))
        if len(pages) == 1:
            meanwhile()
        return pages[-1]

    monkeypatch.setattr(connections, "exchange", load_and_go_on)


@pytest.mark.parametrize(
    ("which", "expected"),
    [("cleared", numbers(10, 15)), ("grown", numbers(0, 8)), ("trimmed", numbers(2, 5))],
)
def test_what_others_do_between_the_commands_for_a_page_does_not_mix_with_it(
    store: Store,
    open_store: OpenStore,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
    expected: list[str],
) -> None:
    fill(store, 0, 5)
    before, reader = store.load_tail("s", 1), open_store()
    reader.load_thread("s")  # the server knows the script
    connections = reader.parts.core.connections
    send = connections.exchange

    def send_one_by_one(commands: Sequence[Any], *args: Any) -> Any:
        found = send(commands[:1], *args)
        if len(commands) == 1:
            return found
        match which:
            case "cleared":
                store.clear_thread("s")
                fill(store, 10, 15)
            case "grown":
                fill(store, 5, 8)
            case "trimmed":
                on = store.parts.core.on("s")
                assert trim_thread(on, epoch=before.epoch, head=0, stay=0, going=2)
        return found + send(commands[1:], *args)

    monkeypatch.setattr(connections, "exchange", send_one_by_one)
    found = reader.load_thread("s")
    assert texts(found) == expected
    assert list(found.indexes) == list(range(found.head, found.count))
    new = reader.load_thread("s", epoch=found.epoch, start=found.count, mark=found.mark)
    assert (new.start, new.messages) == (found.count, ())


def test_messages_added_between_two_pages_are_not_in_the_slice_as_it_is_of_one_version(
    store: Store, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 0, 1500)
    version, reader = store.load_tail("s", 1).version, open_store()
    between_two_pages(reader, monkeypatch, lambda: fill(store, 1500, 1503))
    found = reader.load_thread("s")
    assert texts(found) == numbers(0, 1500)
    assert (found.count, found.version) == (1500, version)
    found = reader.load_thread("s", epoch=found.epoch, start=1500, mark=found.mark)
    assert texts(found) == numbers(1500, 1503)


def test_a_thread_that_was_replaced_between_two_pages_is_read_anew(
    store: Store, open_store: OpenStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a server that has lost the end of it, and got as many other messages since."""

    def replace() -> None:
        records = client.lrange("thread:{s}", 0, -1)
        client.delete("thread:{s}")
        client.rpush("thread:{s}", *reversed(records))

    fill(store, 0, 1500)
    reader = open_store()
    between_two_pages(reader, monkeypatch, replace)
    assert texts(reader.load_thread("s")) == list(reversed(numbers(0, 1500)))


def test_records_that_are_lost_between_two_pages_are_told(
    store: Store, open_store: OpenStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 0, 1500)
    reader = open_store()
    between_two_pages(reader, monkeypatch, lambda: client.ltrim("thread:{s}", 0, -2))
    with pytest.raises(RecordUnreadable, match=r"thread:\{s\}"):
        reader.load_thread("s")


def test_a_head_that_is_no_number_does_not_stop_a_thread_from_being_read(
    store: Store, client: redis.Redis
) -> None:
    """It is asked for only where records are missing."""
    fill(store, 0, 1500)
    client.hset("metadata:{s}", "head", "x")
    assert texts(store.load_thread("s")) == numbers(0, 1500)


@pytest.mark.parametrize("lost", ["all", "some"])
def test_messages_that_were_removed_behind_our_back_are_told_not_waited_for(
    store: Store, client: redis.Redis, lost: str
) -> None:
    fill(store, 0, 10)
    if lost == "all":
        client.delete("thread:{s}")
    else:
        client.ltrim("thread:{s}", 0, 4)
    for load in (
        lambda: store.load_thread("s"),
        lambda: store.load_tail("s", 2000),
        lambda: store.load_tail("s", 3),
        lambda: store.load_tail("s", 3, before=8),
        lambda: store.begin_turn("s", "x"),
    ):
        with pytest.raises(RecordUnreadable, match=r"thread:\{s\}"):
            load()
    assert store.session_state("s").open_turn is None


@pytest.mark.parametrize(
    "options",
    [{"start": -1}, {"start": 1.5}, {"start": "x"}, {"start": None}, {"start": True}],
    ids=str,
)
def test_a_bad_start_is_refused(store: Store, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        store.load_thread("s", **options)


@pytest.mark.parametrize(
    ("limit", "before"),
    [(0, None), (-1, None), (1.5, None), ("5", None), (None, None), (5, -1), (5, "x"), (5, 1.5)],
)
def test_a_bad_limit_is_refused(store: Store, limit: Any, before: Any) -> None:
    with pytest.raises(InvalidInput):
        store.load_tail("s", limit, before=before)


def test_a_session_that_is_not_there_has_no_thread_and_not_an_empty_one(store: Store) -> None:
    for load in (store.load_thread, lambda sid: store.load_tail(sid, 5)):
        with pytest.raises(SessionNotFound):
            load("nowhere")


def test_what_is_new_takes_one_command_a_first_page_three_a_second_two(
    real_store: Store,
) -> None:
    real_store.create_session("t")
    real_store.append_to_thread("t", [Message("user", str(n)) for n in range(2500)])
    found = real_store.load_thread("t")
    real_store.load_thread("t", epoch=found.epoch, start=found.count)  # the server knows both now
    with watched(real_store.client) as sent:
        real_store.load_thread("t", epoch=found.epoch, start=found.count)
    assert len(sent) == 1
    with watched(real_store.client) as sent:
        real_store.load_thread("t")
    assert len(sent) == 3 + 2 * 2


class _Slowly(JsonFormat):
    """Takes two fifths of a lease for each page of messages."""

    def __init__(self, clock: ManualClock, meanwhile: Callable[[], None]) -> None:
        self._clock = clock
        self._meanwhile = meanwhile

    def decode_many(self, records: Sequence[bytes], where: Where) -> list[Json | Unreadable]:
        self._clock.advance(0.4 * LEASE)
        self._meanwhile()
        return super().decode_many(records, where)


@pytest.mark.parametrize("enough", [None, lambda newest: False], ids=["all", "as-needed"])
@pytest.mark.parametrize("abandoned", [False, True], ids=["begun", "resumed"])
def test_a_turn_stays_ours_while_a_thread_is_loaded_that_takes_longer_than_the_lease(
    store: Store,
    open_store: OpenStore,
    clock: ManualClock,
    enough: Enough | None,
    abandoned: bool,
) -> None:
    fill(store, 0, 4500)
    if abandoned:
        left = store.begin_turn("s", "go on")
        store.stage_step(left, [said("so far")])
        clock.advance(60)
    told: list[str] = []

    def meanwhile() -> None:
        with pytest.raises(SessionBusy):
            store.begin_turn("s", "theirs", on_busy="reject")
        told.append("busy")

    slow = open_store(format=_Slowly(clock, meanwhile), lease_ttl=LEASE)
    turn = slow.begin_turn("s", "ours", enough=enough)
    assert (turn.resumed, len(told) > 3) == (abandoned, True)
    slow.commit_turn(turn, [said("kept")])
    assert store.load_tail("s", 1).messages[0].text == "kept"


def test_a_turn_that_was_lost_while_its_thread_was_loaded_says_so_at_the_next_page(
    store: Store, open_store: OpenStore, clock: ManualClock
) -> None:
    fill(store, 0, 3500)

    def meanwhile() -> None:
        store.begin_turn("s", "theirs", on_busy="interrupt")

    slow = open_store(format=_Slowly(clock, meanwhile), lease_ttl=LEASE)
    with pytest.raises(TurnSuperseded):
        slow.begin_turn("s", "ours")
