"""An agent keeps the threads of recent sessions, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from miniagent_redis import Message, SessionManager

Open = Callable[..., SessionManager]


@pytest.fixture
def manager(open_manager: Open) -> SessionManager:
    return open_manager(lambda messages: "yes", max_kept_bytes=100_000)


def session_with(manager: SessionManager, *messages: Message) -> str:
    session_id = manager.create_or_resume_session()
    manager.store.append_to_thread(session_id, messages)
    return session_id


def loads(manager: SessionManager, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets each session whose thread is loaded from its beginning."""
    loaded: list[str] = []
    part = manager.store.parts.turn_begin
    real = part.begin_in_steps

    def begin_in_steps(session_id: str, *args: Any, **options: Any) -> Any:
        if options["epoch"] is None:
            loaded.append(session_id)
        return real(session_id, *args, **options)

    monkeypatch.setattr(part, "begin_in_steps", begin_in_steps)
    return loaded


def test_small_threads_stay_and_are_loaded_once(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loads(manager, monkeypatch)
    sessions = [session_with(manager, Message("user", "x" * 1000)) for _ in range(10)]
    for session_id in sessions * 2:
        manager.chat(session_id, "Hi")
    assert loaded == sessions


@pytest.mark.parametrize(
    "large",
    [
        Message("user", "x" * 60_000),
        Message("user", [{"type": "image", "mime_type": "image/png", "data": "x" * 60_000}]),
        Message("assistant", "x", metadata={"blocks": [{"data": {"signed": "x" * 60_000}}]}),
    ],
    ids=["text", "image", "reasoning"],
)
def test_of_large_ones_those_go_that_were_used_longest_ago(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch, large: Message
) -> None:
    small = session_with(manager, Message("user", "x"))
    first, second = session_with(manager, large), session_with(manager, large)
    loaded = loads(manager, monkeypatch)
    for session_id in (small, first, small, second, second, small, first):
        manager.chat(session_id, "Hi")
    assert loaded == [small, first, second, first]


def test_a_thread_that_only_grows_here_counts_too(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loads(manager, monkeypatch)
    first, second = (manager.create_or_resume_session() for _ in range(2))
    for session_id in (first, second):
        manager.chat(session_id, "x" * 60_000)
    assert manager.agent.thread(second).messages[0].text == "x" * 60_000
    manager.chat(first, "Hi")
    assert loaded == [first, second, first]


def test_one_thread_is_kept_whatever_its_size(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loads(manager, monkeypatch)
    only = session_with(manager, Message("user", "x" * 200_000))
    for _ in range(3):
        manager.chat(only, "Hi")
    assert loaded == [only]


def test_what_is_forgotten_makes_room(
    manager: SessionManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (session_with(manager, Message("user", "x" * 45_000)) for _ in range(3))
    loaded = loads(manager, monkeypatch)
    manager.chat(first, "Hi")
    manager.chat(second, "Hi")
    manager.end_session(second)
    for session_id in (third, first):
        manager.chat(session_id, "Hi")
    assert loaded == [first, second, third]
