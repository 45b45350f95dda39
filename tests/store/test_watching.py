"""Watching a session's events: in order, resumable, with gaps told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from miniagent_redis import Event, EventType, InvalidInput, SessionNotFound
from miniagent_redis.models import Message
from miniagent_redis.store.manager import RedisSessionManager
from tests.support.proxy import Proxy
from tests.support.words import said, until

Store = RedisSessionManager
TALK = ["session_created", "turn_started", "agent_response", "message_added"]


def talk(store: Store, session_id: str = "s") -> None:
    store.create_session(session_id, user_id="ada")
    store.commit_turn(store.begin_turn(session_id, "hi"), [said("hello")])
    store.append_to_thread(session_id, Message("system", "note"))


def kinds(events: list[Event]) -> list[str]:
    return [event.type.value for event in events]


def test_what_happened_is_read_in_its_order(store: Store) -> None:
    talk(store)
    events = store.read_events("s")
    assert kinds(events) == TALK
    assert events[2].text == "hello"
    assert events[2].data["message"]["role"] == "assistant"
    assert [event.data["version"] for event in events] == [1, 1, 2, 3]


def test_reading_goes_on_behind_any_event(store: Store) -> None:
    talk(store)
    events = store.read_events("s")
    for place, event in enumerate(events):
        assert store.read_events("s", event.id) == events[place + 1 :]
    assert store.read_events("s", "", limit=2) == events[:2]


def test_a_stranger_reads_and_watches_nothing(store: Store) -> None:
    talk(store)
    with pytest.raises(SessionNotFound):
        store.read_events("s", user_id="eve")
    with pytest.raises(SessionNotFound):
        next(store.watch("s", "", user_id="eve"))


@pytest.mark.parametrize(
    "after", ["x", "1", "1-", "-1-1", 5, "1-1\n", f"{2**64}-1", f"1-{2**64 - 1}"]
)
def test_what_is_no_event_id_is_refused(store: Store, after: Any) -> None:
    talk(store)
    with pytest.raises(InvalidInput, match="id of an event"):
        store.read_events("s", after)


def test_trimmed_events_are_told_as_a_gap(store: Store, client: Any) -> None:
    talk(store)
    first = store.read_events("s")[0]
    client.xtrim(store.parts.core.keys.of_session("s")[5], maxlen=1, approximate=False)
    gap, last = store.read_events("s", first.id)
    assert (gap.type, gap.data["missed"], last.type.value) == (EventType.GAP, 2, "message_added")
    assert (gap.data["after"], gap.data["before"]) == (first.id, last.id)


def test_a_session_made_anew_is_another_story(store: Store, clock: Any) -> None:
    talk(store)
    last = store.read_events("s")[-1]
    store.delete_session("s")
    clock.advance(1)
    talk(store)
    events = store.read_events("s", last.id)
    assert kinds(events) == ["gap", *TALK]
    assert events[0].data["missed"] is None


def test_a_watcher_sees_what_others_do_until_the_session_ends(real_store: Store) -> None:
    real_store.create_session("s")
    seen: list[Event] = []
    watching = threading.Thread(target=lambda: seen.extend(real_store.watch("s", "", 20)))
    watching.start()
    until(lambda: seen)
    real_store.commit_turn(real_store.begin_turn("s", "hi"), [said("hello")])
    until(lambda: len(seen) == 3)
    real_store.delete_session("s")
    watching.join(20)
    assert kinds(seen) == [*TALK[:3], "session_ended"]


def test_text_whose_reply_was_lost_is_told_once(lossy_store: Store, proxy: Proxy) -> None:
    lossy_store.create_session("s")
    turn = lossy_store.begin_turn("s", "hi")
    lossy_store.cancel_turn("s")
    for times in (1, 3):
        proxy.lose_replies(times)
        assert lossy_store.tell_text(turn, "ha ").cancelled
    assert [event.text for event in lossy_store.read_events("s")[2:]] == ["ha ", "ha "]


def test_a_watcher_ends_after_a_quiet_time(real_store: Store) -> None:
    real_store.create_session("s")
    assert list(real_store.watch("s", timeout=0.05)) == []


def test_a_watcher_of_a_turn_ends_with_the_history_that_took_it_along(real_store: Store) -> None:
    real_store.create_session("s")
    turn = real_store.begin_turn("s", "hi")
    events = real_store.watch("s", timeout=0.05, turn_id=turn.turn_id)
    assert next(events).type == EventType.TURN_STARTED
    real_store.clear_thread("s")
    real_store.append_to_thread("s", Message("system", "of no turn"))
    assert kinds([*events]) == ["history_cleared"]
