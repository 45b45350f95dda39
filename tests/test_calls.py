"""Every public method is in the table of calls, and strangers try those about a session."""

from __future__ import annotations

import inspect

import pytest

from miniagent_redis import RedisSessionManager, SessionAgent, SessionManager, SessionThread, aio
from tests.support.calls import AIO_THREAD, TABLES, public_methods

TAKING = {"session_id", "user_id", "turn"}
OTHERS = {
    RedisSessionManager: {
        "create_session", "list_sessions", "check_rate_limits", "forget_user", "search",
    },
    SessionManager: {
        "create_or_resume_session", "list_sessions", "list_waiting", "forget_user", "search",
    },
    SessionAgent: {"thread", "forget"},
}  # fmt: skip
"""They ask Redis for nothing, act on entries of indexes alone, or have tests of their own."""


@pytest.mark.parametrize("cls", TABLES)
def test_every_public_method_has_a_row(cls: type) -> None:
    assert sorted(public_methods(cls)) == sorted(TABLES[cls])


def test_every_public_method_of_a_mirrored_thread_has_a_row() -> None:
    rows = TABLES[SessionThread].keys() | AIO_THREAD.keys()
    assert set(public_methods(aio.SessionThread)) <= rows


@pytest.mark.parametrize("cls", OTHERS)
def test_every_method_that_takes_a_session_a_user_or_a_turn_is_tried_as_another_user(
    cls: type,
) -> None:
    taking = {
        name
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and TAKING & set(inspect.signature(method).parameters)
    }
    owned = {name for name, call in TABLES[cls].items() if call.is_owned}
    assert taking == owned | OTHERS[cls]


@pytest.mark.parametrize("cls", OTHERS)
def test_what_is_tried_as_another_user_is_mirrored_for_asyncio(cls: type) -> None:
    owned = {name for name, call in TABLES[cls].items() if call.is_owned}
    assert owned <= set(vars(getattr(aio, cls.__name__)))
