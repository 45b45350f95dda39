"""SessionThread: loads when looked at, saves by itself, follows what others write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from miniagent_redis import InvalidInput, SessionManager, SessionNotFound, SessionThread

Open = Callable[..., SessionManager]


@pytest.fixture
def manager(open_manager: Open) -> SessionManager:
    return open_manager(lambda messages: "yes")


def test_nothing_is_read_before_the_thread_is_looked_at(manager: SessionManager) -> None:
    thread = SessionThread(manager.store, "not-there")
    with pytest.raises(SessionNotFound):
        _ = thread.messages


def test_what_is_added_is_saved_at_once(manager: SessionManager, open_manager: Open) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    added = thread.add_message("system", "Be kind.")
    assert list(thread) == [added]
    assert list(open_manager().agent.thread(session_id)) == [added]


def test_it_follows_the_turns_of_its_own_agent(manager: SessionManager) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    manager.chat(session_id, "1?")
    manager.chat(session_id, "2?")
    assert [message.text for message in thread.messages] == ["1?", "yes", "2?", "yes"]
    assert len(thread) == 4


def test_refresh_loads_only_what_others_added(manager: SessionManager, open_manager: Open) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    manager.chat(session_id, "1?")
    known = list(thread.messages)
    open_manager(lambda messages: "no").chat(session_id, "2?")
    assert list(thread.messages) == known
    thread.refresh()
    assert [message.text for message in thread.messages] == ["1?", "yes", "2?", "no"]
    assert all(a is b for a, b in zip(known, thread.messages, strict=False))


def test_a_history_cleared_elsewhere_is_gone_here_too(
    manager: SessionManager, open_manager: Open
) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    manager.chat(session_id, "1?")
    other = open_manager()
    other.clear_history(session_id)
    other.agent.thread(session_id).add_message("user", "fresh")
    assert [message.text for message in thread.refresh().messages] == ["fresh"]
    assert thread.clear() == 1
    assert len(thread) == 0


def test_what_is_cut_off_elsewhere_is_gone_here_too(
    manager: SessionManager, open_manager: Open
) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    for question in ("1?", "2?", "3?"):
        manager.chat(session_id, question)
    assert len(thread) == 6
    other = open_manager(lambda messages: f"{len(messages)}")
    assert other.store.truncate_thread(session_id, 2) == 4
    assert [message.text for message in thread.refresh().messages] == ["1?", "yes"]
    assert other.store.truncate_thread(session_id, 1) == 1
    assert other.chat(session_id, "4?") == "2"  # the model sees what is left, and the new message
    manager.chat(session_id, "5?")
    assert [message.text for message in thread.messages] == ["1?", "4?", "2", "5?", "yes"]


def test_tool_calls_cannot_be_added_without_their_turn(manager: SessionManager) -> None:
    thread = manager.agent.thread(manager.create_or_resume_session())
    with pytest.raises(InvalidInput, match="turn"):
        thread.add_message("tool", "42")


def test_an_unreadable_record_is_set_aside_and_the_rest_is_read(manager: SessionManager) -> None:
    session_id = manager.create_or_resume_session()
    manager.chat(session_id, "1?")
    manager.chat(session_id, "2?")
    key = manager.store.parts.core.keys.of_session(session_id)[1]
    manager.store.client.lset(key, 1, '{"v":1,"role":"assistant","content":"torn')
    thread = SessionThread(manager.store, session_id)
    assert [message.text for message in thread.messages] == ["1?", "2?", "yes"]
    assert [(record.index, record.raw[:5]) for record in thread.unreadable] == [(1, b'{"v":')]
    assert [entry["index"] for entry in manager.get_history(session_id)] == [0, 2, 3]
    assert manager.chat(session_id, "3?") == "yes"
