"""The events of a session: a stream that keeps what happened, a channel that only wakes."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from miniagent_redis.models import EventType, Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.waiting import until
from tests.support.words import call, result, said

Store = RedisSessionManager


@pytest.fixture(autouse=True)
def session(store: Store) -> None:
    store.create_session("s")


def events(client: redis.Redis) -> list[dict[bytes, bytes]]:
    stream: Any = client.xrange("events:{s}")
    return [fields for _, fields in stream]


def test_the_stream_tells_what_happened_in_order(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("s", "one", turn_id="t1")
    turn = store.stage_step(turn, [call("1"), result("1")])
    store.commit_turn(turn, [said("1")])
    store.append_to_thread("s", Message("system", "note"))
    store.abort_turn(store.begin_turn("s", "two", turn_id="t2"), ValueError("no"))

    found = events(client)
    assert [(event[b"type"], event[b"turn"]) for event in found] == [
        (b"turn_started", b"t1"),
        *[(b"turn_step", b"t1")] * 2,
        (b"agent_response", b"t1"),
        (b"message_added", b""),
        (b"turn_started", b"t2"),
        (b"turn_failed", b"t2"),
    ]
    kinds = {event[b"type"].decode() for event in found}
    assert kinds - {"turn_step"} <= {kind.value for kind in EventType}
    records: list[Any] = [
        store.deserialize(e[b"record"]) if e.get(b"record") else None for e in found
    ]
    assert records[3] is records[4] is None  # the thread has these
    assert [records[n]["content"] for n in (0, 2, 5)] == ["one", "ok", "two"]
    assert (records[6]["error"], records[6]["message"]) == ("ValueError", "no")
    store.clear_thread("s")
    assert [event[b"type"] for event in events(client)] == [b"history_cleared"]


def test_repetitions_and_refusals_tell_nothing(store: Store, client: redis.Redis) -> None:
    turn = store.begin_turn("s", "one")
    store.commit_turn(turn, [said("1")])
    store.append_to_thread("s", Message("user", "x"), operation_id="op")
    before = events(client)
    store.commit_turn(turn, [said("1")])
    store.append_to_thread("s", Message("user", "x"), operation_id="op")
    store.abort_turn(turn)
    assert events(client) == before


def test_a_turn_that_is_taken_over_is_told_as_resumed(store: Store, clock: Any) -> None:
    turn = store.begin_turn("s", "one", turn_id="t1")
    store.stage_step(turn, [call("1"), result("1")])
    clock.advance(30)
    told = store.read_events("s")
    store.begin_turn("s", "two")
    (resumed,) = store.read_events("s", told[-1].id)
    assert (resumed.type, resumed.turn_id) == (EventType.TURN_STARTED, "t1")
    assert resumed.data["resumed"] is True
    assert resumed.data["message"]["content"] == "one"
    assert [event.data["resumed"] for event in told if "resumed" in event.data] == [False]


def test_a_turn_that_is_replaced_is_told_as_failed(store: Store) -> None:
    store.begin_turn("s", "one", turn_id="t1")
    store.begin_turn("s", "two", turn_id="t2", on_busy="interrupt")
    told = [(event.type, event.turn_id) for event in store.read_events("s")[1:]]
    assert told == [
        (EventType.TURN_STARTED, "t1"),
        (EventType.TURN_FAILED, "t1"),
        (EventType.TURN_STARTED, "t2"),
    ]


def test_the_stream_is_capped(store: Store, client: redis.Redis) -> None:
    for _ in range(30):
        store.append_to_thread("s", Message("user", "x"))
    client.xadd("events:{s}", {"filler": 1}, id="*")
    with client.pipeline() as pipeline:
        for _ in range(2000):
            pipeline.xadd("events:{s}", {"filler": 1})
        pipeline.execute()
    store.append_to_thread("s", Message("user", "x"))
    assert client.xlen("events:{s}") <= 1200


def test_the_channel_of_the_session_wakes_with_the_kind_of_event(
    store: Store, client: redis.Redis
) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe("events:{s}")
        until(lambda: client.pubsub_numsub("events:{s}")[0][1] == 1)
        store.commit_turn(store.begin_turn("s", "one"), [said("1")])
        store.delete_session("s")
        heard: list[bytes] = []

        def hear() -> bool:
            if note := listener.get_message(timeout=0.1):
                heard.append(note["data"])
            return len(heard) == 3

        until(hear)
    assert heard == [b"turn_started", b"agent_response", b"session_ended"]
