"""What an agent keeps of a thread is shown to nobody when it is not there any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from miniagent_redis import Message, SessionManager
from tests.support.rollback import remember

Open = Callable[..., SessionManager]


class Witness:
    """A model that remembers what it was shown last."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, messages: list[dict[str, str]]) -> str:
        self.shown = [message["content"] for message in messages]
        return "answer to " + self.shown[-1]


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def manager(open_manager: Open, witness: Witness) -> SessionManager:
    return open_manager(witness)


@pytest.fixture
def other(open_manager: Open) -> SessionManager:
    return open_manager(lambda messages: "other")


def texts(manager: SessionManager, session_id: str) -> list[str]:
    return [message["content"] for message in manager.get_history(session_id)]


def chat_and_lose(manager: SessionManager, *lost: str) -> str:
    """Return a session with one turn, after which others were that the server has lost."""
    session_id = manager.create_or_resume_session()
    manager.chat(session_id, "one")
    roll_back = remember(manager.store.client)
    for message in lost:
        manager.chat(session_id, message)
    roll_back()
    return session_id


@pytest.mark.parametrize("others", [0, 1, 2, 3])
def test_an_agent_answers_from_what_is_there_after_the_end_was_lost(
    manager: SessionManager, other: SessionManager, witness: Witness, others: int
) -> None:
    """However many turns others have made since."""
    session_id = chat_and_lose(manager, "my card number is 1234", "please forget that")
    for number in range(others):
        other.chat(session_id, f"other {number}")
    there = texts(other, session_id)
    manager.chat(session_id, "what was said?")
    assert witness.shown == [*there, "what was said?"]
    assert [message.text for message in manager.agent.thread(session_id)] == texts(
        other, session_id
    )
    manager.chat(session_id, "again")
    assert witness.shown == texts(other, session_id)[:-1]


def test_a_refresh_shows_what_is_there_after_the_end_was_lost(
    manager: SessionManager, other: SessionManager
) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    thread.add_message("user", "one")
    roll_back = remember(manager.store.client)
    thread.add_message("user", "lost")
    assert [message.text for message in thread.messages] == ["one", "lost"]
    roll_back()
    other.agent.thread(session_id).add_message("user", "two")
    assert [message.text for message in thread.refresh().messages] == ["one", "two"]


def test_a_resumed_turn_goes_on_from_what_is_there_after_the_end_was_lost(
    manager: SessionManager, other: SessionManager, witness: Witness, open_manager: Open
) -> None:
    session_id = chat_and_lose(manager, "lost")
    short = open_manager(redis={"lease_ttl": 0.05}).store
    short.append_to_thread(session_id, [Message("user", "x"), Message("assistant", "y")])
    short.begin_turn(session_id, "abandoned")
    there = texts(other, session_id)
    assert manager.agent.resume_turn(session_id) is not None
    assert witness.shown == [*there, "abandoned"]


def test_what_is_added_behind_other_messages_than_those_that_are_here_is_not_shown_with_them(
    manager: SessionManager, other: SessionManager
) -> None:
    session_id = manager.create_or_resume_session()
    thread = manager.agent.thread(session_id)
    thread.add_message("user", "one")
    roll_back = remember(manager.store.client)
    thread.add_message("user", "lost")
    assert len(thread) == 2
    roll_back()
    other.agent.thread(session_id).add_message("user", "two")
    thread.add_message("user", "three")
    assert [message.text for message in thread.messages] == ["one", "two", "three"]


def test_a_turn_whose_thread_was_lost_while_it_ran_does_not_leave_it_here(
    open_manager: Open, other: SessionManager
) -> None:
    """Its begin was not lost: then it can be stored."""

    def model(messages: list[dict[str, str]]) -> str:
        if messages[-1]["content"] == "two":
            roll_back = remember(other.store.client)
            other.agent.thread(session_id).add_message("user", "lost")
            manager.agent.thread(session_id).refresh()
            roll_back()
            other.agent.thread(session_id).add_message("user", "kept")
        return "yes"

    manager = open_manager(model)
    session_id = manager.create_or_resume_session()
    manager.chat(session_id, "one")
    manager.chat(session_id, "two")
    there = ["one", "yes", "kept", "two", "yes"]
    assert texts(other, session_id) == there
    assert [message.text for message in manager.agent.thread(session_id)] == there


# --- the same without a loss: another session of the same id --------------------------------------


def test_what_was_somebody_elses_is_never_shown_with_what_is_added_to_a_session_made_anew(
    manager: SessionManager, other: SessionManager
) -> None:
    session_id = manager.create_or_resume_session("alice", "room")
    thread = manager.agent.thread(session_id)
    thread.add_message("user", "of alice 1")
    assert len(thread) == 1
    thread.add_message("user", "of alice 2")
    version = manager.store.session_state(session_id).version
    other.end_session(session_id)
    other.create_or_resume_session("bob", session_id)
    theirs = other.agent.thread(session_id)
    while other.store.session_state(session_id).version < version:
        theirs.add_message("user", "of bob")
    thread.add_message("user", "next")
    shown = [message.text for message in thread.messages]
    assert shown == texts(other, session_id)
    assert "of alice 1" not in shown


def test_a_message_whose_reply_was_lost_is_shown_all_the_same(manager: SessionManager) -> None:
    thread = manager.agent.thread(manager.create_or_resume_session())
    assert len(thread) == 0
    store, message = manager.store, Message("user", "x", created_at=1.0)
    store.append_to_thread(thread.session_id, message, operation_id="op")
    version = store.append_to_thread(thread.session_id, message, operation_id="op")
    thread._follow(version, [message])
    assert [each.text for each in thread.messages] == ["x"]
    thread.add_message("user", "y")
    assert [each.text for each in thread.messages] == ["x", "y"]
