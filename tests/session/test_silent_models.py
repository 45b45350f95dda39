"""Models that keep silent: a turn that is cancelled, or interrupted, does not wait for them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from miniagent_redis import EventType, SessionManager, TurnSuperseded
from miniagent_redis.aio import AgentConfig, RedisConfig
from miniagent_redis.aio import SessionAgent as AsyncAgent
from miniagent_redis.aio import SessionManager as AsyncManager
from miniagent_redis.llm import ScriptedModel
from tests.support.waiting import LIMIT, until

Open = Callable[..., SessionManager]


class Thinker:
    """A model function that says what it is to say at first, and then thinks until it is let."""

    def __init__(self, first: str = "") -> None:
        self.first = first
        self.thinks, self.may_answer = threading.Event(), threading.Event()
        self.answered = 0

    def __call__(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        if self.may_answer.is_set():
            yield "At once."
            return
        yield self.first
        self.thinks.set()
        assert self.may_answer.wait(LIMIT)
        self.answered += 1
        yield "42"


@pytest.fixture
def thinker() -> Iterator[Thinker]:
    """Yield one whose thread has ended when the test has."""
    thinker = Thinker("Let me see. ")
    yield thinker
    thinker.may_answer.set()
    until(no_model_is_asked)


def no_model_is_asked() -> bool:
    return not any(thread.name == "miniagent-model" for thread in threading.enumerate())


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("how", ["chat", "stream", "submit"])
def test_a_turn_is_cancelled_while_its_model_thinks(
    how: str, where: str, thinker: Thinker, open_manager: Open
) -> None:
    manager = open_manager(thinker)
    other = manager if where == "here" else open_manager()
    session_id = manager.create_or_resume_session()
    with ThreadPoolExecutor(1) as pool:
        turn: Future[Any]
        match how:
            case "chat":
                turn = pool.submit(lambda: manager.chat(session_id, "Think!"))
            case "stream":
                turn = pool.submit(lambda: list(manager.stream(session_id, "Think!"))[-1].text)
            case _:
                submitted = manager.agent.submit(session_id, "Think!")
                turn = pool.submit(lambda: submitted.result(LIMIT).text)
        assert thinker.thinks.wait(LIMIT)
        assert other.cancel(session_id)
        assert turn.result(LIMIT) == "Let me see. "
    _, answer = manager.get_history(session_id)
    assert answer["content"] == "Let me see. "
    assert answer["metadata"]["interrupted"] == "cancelled"
    assert manager.store.session_state(session_id).open_turn is None

    thinker.may_answer.set()
    until(no_model_is_asked)  # it ends with its call
    assert thinker.answered == 1
    assert len(manager.get_history(session_id)) == 2  # and what it said is gone
    assert manager.chat(session_id, "And now?") == "At once."


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_turn_is_interrupted_while_its_model_thinks(
    where: str, thinker: Thinker, open_manager: Open
) -> None:
    thinker.first = ""  # else that stays, and who waits for the turn is given it
    manager = open_manager(thinker, on_busy="interrupt")
    other = manager if where == "here" else open_manager("demo", on_busy="interrupt")
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "Think!")
    assert thinker.thinks.wait(LIMIT)
    if where == "elsewhere":
        assert other.chat(session_id, "Hello!").startswith("Hello")
    else:
        next(manager.stream(session_id, "Hello!"))
    with pytest.raises(TurnSuperseded):
        future.result(LIMIT)
    assert not thinker.answered


def test_a_chat_of_asyncio_is_cancelled_while_its_model_thinks(
    thinker: Thinker, store_url: str
) -> None:
    async def main() -> str:
        redis = RedisConfig(url=store_url)
        async with AsyncAgent(AgentConfig(model=thinker), redis_config=redis) as agent:
            manager = AsyncManager(agent)
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Think!"))
            assert await asyncio.to_thread(thinker.thinks.wait, LIMIT)
            assert await manager.cancel(session_id)
            return await chat

    assert asyncio.run(main()) == "Let me see. "
    assert not thinker.answered


def test_a_task_that_is_cancelled_does_not_wait_for_its_model(
    thinker: Thinker, store_url: str
) -> None:
    async def main() -> None:
        redis = RedisConfig(url=store_url)
        async with AsyncAgent(AgentConfig(model=thinker), redis_config=redis) as agent:
            manager = AsyncManager(agent)
            session_id = await manager.create_or_resume_session()
            chat = asyncio.create_task(manager.chat(session_id, "Think!"))
            assert await asyncio.to_thread(thinker.thinks.wait, LIMIT)
            chat.cancel()
            with pytest.raises(asyncio.CancelledError):
                await chat
            assert (await manager.store.session_state(session_id)).open_turn is None

    asyncio.run(main())
    assert not thinker.answered


def test_an_exception_that_comes_from_outside_does_not_wait_for_the_model(
    thinker: Thinker, open_manager: Open
) -> None:
    class TimeIsUpError(Exception):
        pass

    def raise_it(number: int, frame: Any) -> None:
        raise TimeIsUpError

    def interrupt() -> None:
        assert thinker.thinks.wait(LIMIT)
        os.kill(os.getpid(), signal.SIGUSR1)

    manager = open_manager(thinker)
    session_id = manager.create_or_resume_session()
    before = signal.signal(signal.SIGUSR1, raise_it)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(TimeIsUpError):
            manager.chat(session_id, "Think!")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not thinker.answered
    assert manager.store.session_state(session_id).open_turn is None


def test_a_stream_is_not_gone_on_with_in_a_forked_child(
    thinker: Thinker, open_manager: Open
) -> None:
    manager = open_manager(thinker)
    stream = manager.stream(manager.create_or_resume_session(), "Think!")
    assert next(event for event in stream if event.type is EventType.TEXT_DELTA)
    pid = os.fork()
    if pid == 0:
        try:
            next(stream)
        except TurnSuperseded:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    thinker.may_answer.set()
    assert list(stream)[-1].text == "Let me see. 42"


def test_a_model_function_has_the_callers_context(open_manager: Open) -> None:
    language = ContextVar("language", default="English")
    manager = open_manager(lambda messages: f"In {language.get()}.")
    language.set("Frisian")
    assert manager.chat(manager.create_or_resume_session(), "How?") == "In Frisian."


def test_a_model_that_answers_at_once_needs_no_thread(open_manager: Open) -> None:
    threads: list[str] = []
    until(no_model_is_asked)
    manager = open_manager(ScriptedModel(["Hello"]))
    manager.agent.callbacks.on(
        EventType.TEXT_DELTA,
        lambda event: threads.extend(thread.name for thread in threading.enumerate()),
    )
    assert manager.chat(manager.create_or_resume_session(), "Hi") == "Hello"
    assert "miniagent-model" not in threads
    assert threads
