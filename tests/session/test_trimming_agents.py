"""Agents whose full sessions let go of their oldest exchanges: ``on_full="trim"``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from miniagent_redis import Message, RedisConfig, RedisSessionManager, SessionManager
from miniagent_redis.errors import SessionTooLarge, TurnUncertain
from miniagent_redis.maintenance.spool import Spool
from miniagent_redis.models import UsageTotals
from miniagent_redis.runtime.clock import ManualClock

Open = Callable[..., SessionManager]
LIMIT = 20_000
TRIM = {"max_session_size": LIMIT, "on_full": "trim"}
TEXT = "x" * 1500


class Parrot:
    """A model that remembers what it was sent."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []

    def __call__(self, messages: list[dict[str, Any]]) -> str:
        self.asked.append(messages)
        return f"{messages[-1]['content'].split()[0]}! {TEXT}"


def ask(manager: SessionManager, session_id: str, n: int) -> str:
    return manager.chat(session_id, f"{n} {TEXT}")


def numbers(messages: Any) -> list[str]:
    return [str(message["content"]).split()[0] for message in messages]


def test_a_conversation_goes_on_and_each_instance_sends_the_same(open_manager: Open) -> None:
    models = [Parrot(), Parrot()]
    managers = [open_manager(model, redis=TRIM) for model in models]
    session_id = managers[0].create_or_resume_session()
    managers[0].agent.thread(session_id).add_message("system", "Kind, be")
    for n in range(24):
        manager, model = managers[n // 3 % 2], models[n // 3 % 2]
        assert ask(manager, session_id, n).startswith(f"{n}! ")
        sent, stored = model.asked[-1], managers[0].get_history(session_id)
        assert numbers(stored)[0] == "Kind,"
        assert "Kind," in numbers(sent)
        # What was asked is what a fresh instance would send: nothing that was let go of before.
        assert numbers(sent)[-3:] == [*numbers(stored)[-4:-2], str(n)] if n else True
        assert len(sent) <= len(stored) + 2 * 8
    state = managers[0].store.session_state(session_id)
    assert (state.head > 0, state.message_count) == (True, 49)
    for manager in managers:
        thread = manager.agent.thread(session_id).refresh()
        fresh = manager.store.load_thread(session_id)
        assert tuple(thread.messages) == fresh.messages
        assert len(thread) == state.message_count - state.head


def test_an_instance_keeps_no_more_than_the_thread(open_manager: Open) -> None:
    manager = open_manager(Parrot(), redis=TRIM)
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    most = 0
    for n in range(40):
        ask(manager, session_id, n)
        most = max(most, len(thread))
    assert most <= LIMIT / len(TEXT) + 2


def test_a_small_window_sees_the_newest_of_a_trimmed_thread(open_manager: Open) -> None:
    model = Parrot()
    manager = open_manager(model, redis=TRIM, max_context_messages=6)
    session_id = manager.create_or_resume_session()
    for n in range(20):
        ask(manager, session_id, n)
    cold = Parrot()
    ask(open_manager(cold, redis=TRIM, max_context_messages=6), session_id, 20)
    assert numbers(cold.asked[-1])[-3:] == ["19", "19!", "20"]
    assert 3 <= len(cold.asked[-1]) <= 7


def test_history_is_paged_backward_to_the_head(open_manager: Open) -> None:
    manager = open_manager(Parrot(), redis=TRIM)
    session_id = manager.create_or_resume_session()
    for n in range(20):
        ask(manager, session_id, n)
    whole = manager.get_history(session_id)
    head = manager.store.session_state(session_id).head
    assert [each["index"] for each in whole] == list(range(head, 40))
    pages, before = [], None
    while page := manager.get_history(session_id, limit=3, before=before):
        pages[:0] = page
        before = page[0]["index"]
    assert pages == whole
    assert manager.get_history(session_id, before=head + 2) == whole[:2]


def test_the_model_is_not_asked_where_nothing_helps(open_manager: Open) -> None:
    model = Parrot()
    manager = open_manager(model, redis=TRIM)
    session_id = manager.create_or_resume_session()
    ask(manager, session_id, 1)
    before = manager.get_history(session_id)
    with pytest.raises(SessionTooLarge):
        manager.chat(session_id, "q" * LIMIT)
    assert len(model.asked) == 1
    assert manager.get_history(session_id) == before


def test_watchers_hear_that_a_message_is_gone(open_manager: Open) -> None:
    manager = open_manager(Parrot(), redis=TRIM)
    session_id = manager.create_or_resume_session()
    for n in range(20):
        ask(manager, session_id, n)
    told = [
        e for e in manager.store.read_events(session_id, limit=1000) if e.type == "turn_started"
    ]
    assert told[0].data["gone"]
    assert told[-1].data["message"]["content"].startswith("19 ")


def test_hooks_get_what_is_left_of_an_expired_session(store_url: str) -> None:
    clock = ManualClock()
    config = RedisConfig(url=store_url, max_session_size=LIMIT, on_full="trim")
    with RedisSessionManager(config, clock=clock) as store:
        store.create_session("s", {}, 60)
        for n in range(30):
            clock.advance(0.01)
            store.append_to_thread("s", Message("user", f"{n} {TEXT}"))
        left = store.load_thread("s").messages
        clock.advance(61)
        seen: list[Any] = []
        assert store.sweep([seen.append]) == 1
        assert (seen[0].messages, seen[0].message_count) == (left, 30)


def test_a_turn_that_may_have_been_let_go_of_is_not_done_twice(store_url: str) -> None:
    clock = ManualClock()
    config = RedisConfig(url=store_url, max_session_size=LIMIT, on_full="trim")
    with RedisSessionManager(config, clock=clock) as store:
        store.create_session("s", {})
        turn = store.begin_turn("s", "Hi")
        store.commit_turn(turn, [Message("assistant", "yes")])
        for n in range(70):
            clock.advance(0.01)
            store.append_to_thread("s", Message("user", f"{n} {TEXT}"))
        late = evolve(turn, staged=(*turn.staged, Message("assistant", "yes")))
        with pytest.raises(TurnUncertain, match="let go of"):
            store.replay_turn(late)


def test_a_spooled_turn_that_may_have_been_let_go_of_is_set_aside(
    store_url: str, tmp_path: Path
) -> None:
    clock = ManualClock()
    config = RedisConfig(url=store_url, max_session_size=LIMIT, on_full="trim")
    with RedisSessionManager(config, clock=clock) as store:
        store.create_session("s", {})
        store.create_session("t", {})
        ends: list[Any] = []
        spool = Spool(tmp_path, store.parts, lambda turn, end: ends.append(end))
        late, fresh = store.begin_turn("s", "Hi"), store.begin_turn("t", "Hi")
        spool.keep(late, [Message("assistant", "yes")], UsageTotals())
        store.abort_turn(late)
        for n in range(70):
            clock.advance(0.01)
            store.append_to_thread("s", Message("user", f"{n} {TEXT}"))
        spool.keep(fresh, [Message("assistant", "yes")], UsageTotals())
        assert spool.replay() == 1
        assert isinstance(ends[0], TurnUncertain)
        assert (spool.waiting, len(spool.backlog().set_aside)) == (0, 1)
        assert len(store.load_thread("t").messages) == 2
