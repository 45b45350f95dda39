"""Requests to providers that keep silent: they end with their turn, and no others do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    TurnSuperseded,
)
from tests.support.provider_replies import PROVIDERS, begun, said
from tests.support.silent_server import SilentServer
from tests.support.waiting import LIMIT, until

Open = Callable[..., SessionManager]


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with SilentServer() as server:
        yield server


@pytest.fixture
def open_manager(store_url: str) -> Iterator[Open]:
    """Yield a function that opens another instance of the program on the same store."""
    with ExitStack() as stack:

        def open_it(model: Any = "demo", **settings: Any) -> SessionManager:
            redis = RedisConfig(url=store_url)
            agent = SessionAgent(AgentConfig(model=model, **settings), redis_config=redis)
            return SessionManager(stack.enter_context(agent))

        yield open_it


def of(provider: str, silent: SilentServer) -> str:
    return f"{provider}:some-model@{silent.url}"


def no_model_is_asked() -> bool:
    return not any(thread.name == "miniagent-model" for thread in threading.enumerate())


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_request_that_gets_no_reply_at_all_ends_with_its_turn(
    provider: str, where: str, silent: SilentServer, open_manager: Open
) -> None:
    silent.add(None)
    silent.add(*said(provider, "Here I am."))
    manager = open_manager(of(provider, silent))
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "Think!")
    silent.wait_until_asked()
    assert (manager if where == "here" else open_manager()).cancel(session_id)
    result = future.result(LIMIT)
    assert (result.text, result.interrupted) == ("", True)
    silent.wait_until_left()
    until(no_model_is_asked)
    assert silent.asked == 1  # the SDK did not repeat it
    assert manager.chat(session_id, "Hello?") == "Here I am."


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_was_said_before_a_silence_is_kept(
    provider: str, silent: SilentServer, open_manager: Open
) -> None:
    silent.add(*begun(provider, "One moment"), None)
    manager = open_manager(of(provider, silent))
    session_id = manager.create_or_resume_session()
    events = []
    for event in manager.stream(session_id, "Think!"):
        events.append(event)
        if event.type is EventType.TEXT_DELTA:
            threading.Thread(target=manager.cancel, args=(session_id,)).start()
    assert events[-1].text == "One moment"
    silent.wait_until_left()
    answer = manager.get_history(session_id)[-1]
    assert (answer["content"], answer["metadata"]["interrupted"]) == ("One moment", "cancelled")


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])  # OpenAI's SDK keeps none
def test_a_request_on_a_kept_connection_is_the_one_that_ends(
    provider: str, silent: SilentServer, open_manager: Open
) -> None:
    silent.add(*said(provider, "Hello"))
    manager = open_manager(of(provider, silent))
    first, second = (manager.create_or_resume_session() for _ in range(2))
    assert manager.chat(first, "Hi") == "Hello"
    silent.add(None)
    silent.add(None)
    cancelled = manager.agent.submit(first, "Think!")
    silent.wait_until_asked(2)
    going_on = manager.agent.submit(second, "Think, too!")
    silent.wait_until_asked(3)
    assert silent.connections == 2  # the silent one has that of the first answer
    manager.cancel(first)
    assert cancelled.result(LIMIT).interrupted
    silent.wait_until_left()
    assert not going_on.done()
    manager.cancel(second)
    assert going_on.result(LIMIT).interrupted
    silent.wait_until_left(2)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_new_message_that_interrupts_ends_the_request(
    where: str, silent: SilentServer, open_manager: Open
) -> None:
    silent.add(None)
    silent.add(*said("openai", "At once."))
    name = of("openai", silent)
    manager = open_manager(name, on_busy="interrupt")
    other = manager if where == "here" else open_manager(name, on_busy="interrupt")
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "Think!")
    silent.wait_until_asked()
    assert other.chat(session_id, "Stop thinking!") == "At once."
    with pytest.raises(TurnSuperseded):
        future.result(LIMIT)
    silent.wait_until_left()
