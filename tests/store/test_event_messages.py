"""Events point to messages instead of holding them again, and never tell one for another."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import redis

from miniagent_redis.models import Event, EventType, Message
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.courses import run
from tests.support.words import OpenStore, call, result, said

Store = RedisSessionManager
LONG = "x" * 1000


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s")


def texts(events: list[Event]) -> list[str | None]:
    """Return what events say, in a few characters each; None for a message that is gone."""
    told: list[str | None] = []
    for event in events:
        data = event.data
        message = data.get("message")
        if event.type is EventType.TOOL_CALL:
            told.append(f"call {data['id']}")
        elif data.get("gone"):
            assert data.keys() <= {"gone", "version"}
            assert event.text == ""
            told.append(None)
        else:
            text = message["content"] if isinstance(message, dict) else data.get("content", "")
            told.append(text.replace(LONG, ""))
    return told


def size_of(client: redis.Redis) -> int:
    """Return how many bytes the values in the stream have."""
    stream: Any = client.xrange("events:{s}")
    return sum(len(value) for _, fields in stream for value in fields.values())


def in_pages(store: Store, limit: int) -> list[Event]:
    told: list[Event] = []
    while more := store.read_events("s", told[-1].id if told else "", limit=limit):
        told += more
    return told


def test_long_messages_are_told_though_the_stream_does_not_hold_them(
    store: Store, client: redis.Redis
) -> None:
    store.append_to_thread("s", [Message("user", f"{LONG}a"), said(f"{LONG}b")])
    turn = store.begin_turn("s", f"{LONG}c")
    turn = store.stage_step(turn, [call("1"), result("1", f"{LONG}d")])
    told = ["", "a", "b", "c", "call 1", "d"]
    assert texts(store.read_events("s")) == told
    store.append_to_thread("s", Message("system", f"{LONG}e"))  # it stands in front of the turn
    store.commit_turn(turn, [said(f"{LONG}f")])
    store.commit_turn(store.begin_turn("s", f"{LONG}g"), [said(f"{LONG}h")])
    told += ["e", "f", "g", "h"]
    assert texts(store.read_events("s")) == told
    assert size_of(client) < 1500
    for limit in (1, 2, 3):  # also where a turn ends on another page
        assert texts(in_pages(store, limit)) == told


def test_a_dropped_turn_is_told_without_its_long_messages(store: Store) -> None:
    turn = store.begin_turn("s", "short", turn_id="t")
    store.abort_turn(store.stage_step(turn, [call("1"), result("1", LONG)]), ValueError("no"))
    told = store.read_events("s")[1:]
    assert texts(told[:1]) == ["short"]
    assert [event.type for event in told[-2:]] == [EventType.TOOL_RESULT, EventType.TURN_FAILED]
    assert texts(told[-2:-1]) == [None]


def test_a_message_of_another_turn_with_the_same_id_is_not_told_for_a_dropped_one(
    store: Store,
) -> None:
    store.abort_turn(store.begin_turn("s", f"{LONG}a", turn_id="own"))
    turn = store.begin_turn("s", f"{LONG}b", turn_id="own")
    told = [e for e in store.read_events("s") if e.type is EventType.TURN_STARTED]
    assert texts(told) == [None, "b"]
    store.commit_turn(turn, [said("1")])
    told = [e for e in store.read_events("s") if e.type is EventType.TURN_STARTED]
    assert texts(told) == [None, "b"]


def test_a_record_that_stands_where_another_one_was_is_not_told_for_it(
    store: Store, client: redis.Redis
) -> None:
    store.append_to_thread("s", [Message("user", f"{LONG}{n}") for n in range(3)])
    client.lset("thread:{s}", 1, client.lindex("thread:{s}", 2))  # type: ignore[arg-type]
    client.rpop("thread:{s}")
    assert texts(store.read_events("s")) == ["", "0", None, None]


@pytest.mark.parametrize("keep", [0, 1])
def test_a_history_that_is_cleared_is_told_no_more_and_numbers_go_on(
    store: Store, client: redis.Redis, keep: int
) -> None:
    store.commit_turn(store.tell_text(store.begin_turn("s", "secret"), "secr"), [said("secret")])
    last = store.read_events("s")[-1]
    if keep:
        store.truncate_thread("s", keep)
    else:
        store.clear_thread("s")
    assert "secr" not in repr(client.xrange("events:{s}"))
    (cleared,) = store.read_events("s", last.id)
    assert (cleared.type, cleared.data["kept"]) == (EventType.HISTORY_CLEARED, keep)
    gap, again = store.read_events("s")
    assert (gap.type, gap.data["missed"], again) == (EventType.GAP, 4, cleared)


@pytest.mark.parametrize("keep", [0, 1])
def test_who_watches_hears_what_follows_a_cleared_history_though_the_clock_went_back(
    store: Store, clock: ManualClock, keep: int
) -> None:
    clock.advance(1000)
    store.append_to_thread("s", [Message("user", "1"), said("2")])
    last = store.read_events("s")[-1]
    clock.advance(-900)
    if keep:
        store.truncate_thread("s", keep)
    else:
        store.clear_thread("s")
    store.append_to_thread("s", Message("user", "3"))
    told = store.read_events("s", last.id)
    assert [event.type for event in told] == [EventType.HISTORY_CLEARED, EventType.MESSAGE_ADDED]


def test_a_session_without_turns_needs_no_stream_to_tell_that_it_was_created(
    store: Store, client: redis.Redis, clock: ManualClock
) -> None:
    store.create_session("idle")
    assert not client.exists("events:{idle}")
    (created,) = store.read_events("idle")
    assert (created.type, created.data) == (EventType.SESSION_CREATED, {"version": 1})
    assert store.read_events("idle", created.id) == []
    clock.advance(-1000)
    store.append_to_thread("idle", Message("user", "1"))
    (added,) = store.read_events("idle", created.id)
    assert store.read_events("idle") == [created, added]
    assert store.read_events("idle", limit=1) == [created]
    assert next(store.watch("idle", "")) == created
    client.xtrim("events:{idle}", 0)  # then nobody knows any more
    assert [event.type for event in store.read_events("idle")] == [EventType.GAP]


def test_the_stream_that_a_first_turn_begins_ends_with_the_session(
    store: Store, client: redis.Redis
) -> None:
    store.create_session("new")
    store.begin_turn("new", "one")
    assert client.pexpiretime("events:{new}") == client.pexpiretime("metadata:{new}")


def test_an_event_that_an_earlier_version_wrote_with_its_record_is_read(
    store: Store, client: redis.Redis
) -> None:
    store.commit_turn(store.begin_turn("s", "one"), [said("1")])
    thread: Any = client.lrange("thread:{s}", 0, -1)
    store.clear_thread("s")
    milliseconds, number = map(int, store.read_events("s")[-1].id.split("-"))
    kinds = ["turn_started", "agent_response", "message_added"]
    for place, kind in enumerate(kinds, 1):
        fields: Any = {"type": kind, "turn": "t", "version": 2, "record": thread[place % 2]}
        client.xadd("events:{s}", fields, id=f"{milliseconds}-{number + place}")
    client.hincrby("metadata:{s}", "events", 3)
    told = store.read_events("s", f"{milliseconds}-{number}")
    assert [event.type.value for event in told] == kinds
    assert texts(told) == ["1", "one", "1"]


def test_of_what_only_events_hold_the_last_is_kept(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("s", "one")
    for n in range(20):
        store.tell_text(turn, f"{n} {LONG * 8}")
        assert size_of(client) < 140_000
    store.tell_text(turn, LONG * 900)
    assert 60_000 < size_of(client) < 140_000
    told = store.read_events("s")
    assert told[0].type is EventType.GAP
    assert {event.type for event in told[1:]} == {EventType.TEXT_DELTA}
    store.abort_turn(turn)
    for n in range(100):
        store.abort_turn(store.begin_turn("s", f"{n}"), ValueError(LONG * 900))
    assert size_of(client) < 140_000
    assert store.read_events("s")[-1].data["message"].startswith("xxx")


def test_what_is_read_at_once_is_limited_in_bytes(
    open_store: OpenStore, clock: ManualClock
) -> None:
    store = open_store(max_session_size=2**30)
    store.append_to_thread("s", [Message("user", LONG * 300 + str(n)) for n in range(20)])
    more: Any
    _, _, _, _, _, more, entries = run(store, clock, ("read_events", ["0-1", 50, 2**20]))
    assert (more, len(entries)) == (1, 4)
    _, _, _, _, _, more, entries = run(store, clock, ("read_events", [entries[3][0], 1, 1000]))
    assert (more, len(entries), len(entries[0][2]) > 300_000) == (1, 1, True)
    told = store.read_events("s", limit=1000)
    assert texts(told[1:]) == [str(n) for n in range(20)]
    assert len(store.read_events("s", limit=7)) == 7
    assert texts(list(islice(store.watch("s", ""), 1, 21))) == [str(n) for n in range(20)]
