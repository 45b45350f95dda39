"""A running turn told to watchers as it happens, and cancelled from anywhere."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from miniagent_redis import EventType, SessionBusy, TurnSuperseded
from miniagent_redis.models import Event, Message, ToolCall
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.words import result, said

Store = RedisSessionManager
CALLS = Message(
    "assistant", "Let me see", (ToolCall("1", "sum", {"of": [1]}), ToolCall("2", "now"))
)
TOLD = ["turn_started", "text_delta", "tool_call", "tool_call", "tool_result", "agent_response"]


@pytest.fixture(autouse=True)
def _session(store: Store) -> None:
    store.create_session("s")


def kinds(events: list[Event]) -> list[str]:
    return [event.type.value for event in events]


def streamed(store: Store) -> list[Event]:
    """Do a turn with everything in it; return its events."""
    turn = store.tell_text(store.begin_turn("s", "hi"), "Let me ")
    turn = store.stage_step(turn, [CALLS])
    turn = store.stage_step(turn, [result("1", "5"), result("2", "noon")])
    store.commit_turn(turn, [said("fine")])
    return store.read_events("s")[1:]


def test_text_and_steps_are_told_in_their_order(store: Store) -> None:
    events = streamed(store)
    assert kinds(events) == [*TOLD[:5], *TOLD[4:]]
    assert events[1].text == "Let me "
    assert events[2].data == {"id": "1", "name": "sum", "arguments": {"of": [1]}}
    assert events[4].data == {"id": "1", "name": "tool", "content": "5", "is_error": False}
    assert len({event.id for event in events}) == len(events)


def test_reading_goes_on_behind_any_of_the_events_of_one_step(store: Store) -> None:
    events = streamed(store)
    for place, event in enumerate(events):
        assert store.read_events("s", event.id) == events[place + 1 :]


def test_who_lost_the_turn_tells_nothing(store: Store) -> None:
    old = store.begin_turn("s", "hi")
    store.begin_turn("s", "no, this", on_busy="interrupt")
    with pytest.raises(TurnSuperseded):
        store.tell_text(old, "late")
    assert EventType.TEXT_DELTA not in {event.type for event in store.read_events("s")}


def test_the_channel_of_the_session_tells_that_there_is_more_to_read(store: Store) -> None:
    store.subscribe(["events:{s}"])
    turn = store.begin_turn("s", "hi")
    turn = store.stage_step(store.tell_text(turn, "x"), [CALLS])
    store.abort_turn(turn)
    heard = [message["data"] for message in islice(store.get_messages(), 4)]
    assert heard == ["turn_started", "text_delta", "turn_step", "turn_failed"]


def test_the_holder_hears_at_its_next_call_that_the_turn_is_cancelled(store: Store) -> None:
    turn = store.begin_turn("s", "hi")
    assert not store.tell_text(turn, "x").cancelled
    assert store.cancel_turn("s")
    assert store.tell_text(turn, "y").cancelled
    assert store.renew_lease(turn).cancelled
    turn = store.stage_step(turn, [CALLS])
    assert turn.cancelled
    store.abort_turn(turn)
    assert not store.cancel_turn("s")


def test_a_step_is_worth_a_wait_and_a_mere_renewal_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, waits = store.begin_turn("s", "hi"), list[float | None]()
    connections = store.parts.core.connections
    persist = connections.persist

    def noted(attempt: Any, insist: float | None = None, **more: Any) -> Any:
        waits.append(insist)
        return persist(attempt, insist, **more)

    monkeypatch.setattr(connections, "persist", noted)
    store.stage_step(store.renew_lease(turn), [CALLS])
    assert waits == [None, store.config.commit_timeout]


def test_who_rejects_a_busy_session_does_not_wait_for_it(store: Store) -> None:
    store.begin_turn("s", "hi")
    steps = store.parts.turn_begin.begin_in_steps("s", "ho", on_busy="reject", pauses=True)
    with pytest.raises(SessionBusy):
        next(steps)


def test_to_cancel_is_asked_once(store: Store) -> None:
    store.begin_turn("s", "hi")
    assert store.cancel_turn("s")
    assert store.parts.core.connections.figures().retries == 0


def test_a_cancellation_ends_with_its_turn(store: Store) -> None:
    turn = store.begin_turn("s", "hi")
    store.cancel_turn("s")
    store.commit_turn(turn, [said("all the same")])
    assert not store.tell_text(store.begin_turn("s", "again"), "x").cancelled
