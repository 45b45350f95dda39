"""Async models in the sync API: they run in the loop that stays, where async tools run too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from miniagent_redis import EventType, ModelError, SessionManager
from miniagent_redis.runtime.staying_loops import NAME
from tests.support.waiting import LIMIT, until

Opened = Callable[..., SessionManager]
Messages = list[dict[str, Any]]


def test_an_async_model_answers(open_manager: Opened) -> None:
    async def answer(messages: Messages) -> str:
        assert threading.current_thread().name == NAME
        await asyncio.sleep(0)
        return "Hello!"

    manager = open_manager(answer)
    session_id = manager.create_or_resume_session()
    assert manager.chat(session_id, "Hi!") == "Hello!"
    assert manager.agent.submit(session_id, "Hi!").result(LIMIT).text == "Hello!"


def test_its_text_is_streamed(open_manager: Opened) -> None:
    async def answer(messages: Messages) -> AsyncIterator[str]:
        for piece in ("one ", "two"):
            yield piece

    manager = open_manager(answer)
    events = list(manager.stream(manager.create_or_resume_session(), "Hi!"))
    texts = [event.text for event in events if event.type is EventType.TEXT_DELTA]
    assert texts == ["one ", "two"]


def test_what_it_keeps_belongs_to_a_loop_that_stays(open_manager: Opened) -> None:
    locks: list[asyncio.Lock] = []

    async def answer(messages: Messages) -> str:
        locks[:] = locks or [asyncio.Lock()]
        async with locks[0]:
            await asyncio.sleep(0)
        return "Hello!"

    manager = open_manager(answer)
    session_id = manager.create_or_resume_session()
    turns = [manager.agent.submit(session_id, "Hi!") for _ in range(4)]
    assert [turn.result(LIMIT).text for turn in turns] == ["Hello!"] * 4


def test_one_that_keeps_silent_is_left_and_cancelled(open_manager: Opened) -> None:
    began, ended = threading.Event(), threading.Event()

    async def answer(messages: Messages) -> AsyncIterator[str]:
        yield "one "
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    manager = open_manager(answer)
    session_id = manager.create_or_resume_session()
    turn = manager.agent.submit(session_id, "Hi!")
    assert began.wait(LIMIT)
    assert manager.cancel(session_id)
    result = turn.result(LIMIT)
    assert (result.text, result.interrupted) == ("one ", True)
    assert ended.wait(LIMIT)


def test_what_it_raises_is_an_error_of_the_model(open_manager: Opened) -> None:
    async def weather_bot(messages: Messages) -> str:
        raise KeyError("sky")

    manager = open_manager(weather_bot)
    with pytest.raises(ModelError, match=r"weather_bot failed to answer. KeyError: 'sky'"):
        manager.chat(manager.create_or_resume_session(), "Hi!")


def test_a_model_may_block_its_loop_with_a_turn_of_another_session(open_manager: Opened) -> None:
    async def answer(messages: Messages) -> str:
        if messages[-1]["content"] == "Ask her!":
            return manager.chat(other, "Hello!")
        return "It is me."

    manager = open_manager(answer)
    session_id, other = (manager.create_or_resume_session() for _ in range(2))
    assert manager.chat(session_id, "Ask her!") == "It is me."


@pytest.mark.parametrize("how", ["submit", "start"])
def test_turns_that_wait_for_it_hold_no_thread_of_the_pool(open_manager: Opened, how: str) -> None:
    asked: list[str] = []
    all_are_asked = threading.Event()

    async def answer(messages: Messages) -> str:
        asked.append(messages[-1]["content"])
        if len(asked) == 3:
            all_are_asked.set()
        while not all_are_asked.is_set():
            await asyncio.sleep(0.01)
        return "Hello!"

    manager = open_manager(answer, turn_threads=1)
    sessions = [manager.create_or_resume_session() for _ in range(3)]
    if how == "start":
        turns = [(each, manager.start(each, each).turn_id) for each in sessions]
    else:
        turns = [(each, manager.agent.submit(each, each).turn_id) for each in sessions]
    try:
        assert all_are_asked.wait(LIMIT)
    finally:
        all_are_asked.set()
    for session_id, turn_id in turns:
        *_, last = manager.watch(session_id, turn_id=turn_id, timeout=LIMIT)
        assert last.text == "Hello!"


def test_a_plain_function_may_return_what_is_to_be_awaited(open_manager: Opened) -> None:
    async def answer(name: str) -> str:
        await asyncio.sleep(0)
        return f"Hello, {name}!"

    async def pieces() -> AsyncIterator[str]:
        for piece in ("one ", "two"):
            yield piece

    for model, text in (
        (lambda messages: answer("Ada"), "Hello, Ada!"),
        (lambda _: pieces(), "one two"),
    ):
        manager = open_manager(model)
        session_id = manager.create_or_resume_session()
        assert manager.chat(session_id, "Hi!") == text
        assert manager.agent.submit(session_id, "Hi!").result(LIMIT).text == text


def test_what_a_plain_function_returned_is_cancelled_when_its_turn_is(open_manager: Opened) -> None:
    began, ended = threading.Event(), threading.Event()

    async def answer() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    manager = open_manager(lambda messages: answer())
    session_id = manager.create_or_resume_session()
    turn = manager.agent.submit(session_id, "Hi!")
    assert began.wait(LIMIT)
    assert manager.cancel(session_id)
    assert turn.result(LIMIT).interrupted
    assert ended.wait(LIMIT)
    until(lambda: not any(each.name == "miniagent-model" for each in threading.enumerate()))
