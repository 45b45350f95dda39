"""Text that was shown stays, whoever ends the turn: a message, or those who find it given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    EventType,
    RedisConfig,
    SessionAgent,
    SessionManager,
    ToolCall,
    ToolRegistry,
    TurnSuperseded,
)
from miniagent_redis.aio import SessionAgent as AsyncAgent
from miniagent_redis.aio import SessionManager as AsyncManager
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, ReasoningDelta, TextDelta
from miniagent_redis.runtime.clock import ManualClock
from miniagent_redis.runtime.pausing import at_once
from tests.support.words import call, result

Open = Callable[..., SessionManager]
LIMIT = 20.0
QUICK = "quick"


class Teller:
    """Says ``pieces`` for "tell" and then waits; answers anything else at once."""

    def __init__(self, *pieces: ModelEvent) -> None:
        self.pieces = pieces
        self.has_said = threading.Event()
        self.go_on = threading.Event()
        self.asked: list[list[str]] = []

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.asked.append([message.text for message in request.messages])
        last = request.messages[-1]
        if last.text == "pay":
            yield from (TextDelta("I will. "), ToolCall("c1", "pay", {"order": 7}), Finish())
        elif last.text == "tell" or last.role == "tool":
            yield from self.pieces
            self.has_said.set()
            assert self.go_on.wait(LIMIT)
            yield from (TextDelta("the end"), Finish())
        else:
            yield from (TextDelta(QUICK), Finish())


@pytest.fixture
def teller() -> Iterator[Teller]:
    model = Teller(TextDelta("Once "), TextDelta("upon "))
    yield model
    model.go_on.set()


def lines(manager: SessionManager, session_id: str) -> list[str]:
    return [f"{m['role']}:{m['content']}" for m in manager.get_history(session_id)]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_repetition_of_a_turn_that_is_stored_interrupts_no_other(
    open_manager: Open, teller: Teller, where: str
) -> None:
    manager, other = two(open_manager, teller, where)
    session_id = manager.create_or_resume_session()
    manager.run(session_id, "Hi", turn_id="hi")
    telling = manager.agent.submit(session_id, "tell")
    assert teller.has_said.wait(LIMIT)
    assert other.run(session_id, "Hi", turn_id="hi").text == QUICK
    teller.go_on.set()
    assert telling.result(LIMIT).text == "Once upon the end"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_text_that_was_shown_stays_when_a_message_interrupts_its_turn(
    open_manager: Open, teller: Teller, where: str
) -> None:
    manager, other = two(open_manager, teller, where)
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "tell")
    assert [next(stream).text for _ in range(3)] == ["", "Once ", "upon "]
    assert other.chat(session_id, "stop") == QUICK
    with pytest.raises(TurnSuperseded) as caught:
        next(stream)
    assert caught.value.text == "Once upon "
    assert lines(other, session_id) == [
        "user:tell",
        "assistant:Once upon ",
        "user:stop",
        f"assistant:{QUICK}",
    ]
    assert other.get_history(session_id)[1]["metadata"] == {"interrupted": "cancelled"}
    assert teller.asked[-1] == ["tell", "Once upon \n[interrupted]", "stop"]


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_who_waits_for_the_turn_is_given_the_text_that_was_shown(
    open_manager: Open, teller: Teller, where: str
) -> None:
    manager, other = two(open_manager, teller, where)
    session_id = manager.create_or_resume_session()
    is_shown = threading.Event()
    manager.agent.callbacks.on(
        EventType.TEXT_DELTA, lambda event: is_shown.set() if event.text == "upon " else None
    )
    future = manager.agent.submit(session_id, "tell", turn_id="story")
    assert is_shown.wait(LIMIT)
    if where == "elsewhere":
        heard_whole(other, session_id)
    assert other.chat(session_id, "stop") == QUICK
    result = future.result(LIMIT)
    assert (result.text, result.finish_reason) == ("Once upon ", "cancelled")


def two(open_manager: Open, model: Teller, where: str) -> tuple[SessionManager, SessionManager]:
    """Return an instance, and the one that interrupts, which hears all that is told at once."""
    if where == "here":
        manager = open_manager(model, on_busy="interrupt")
        return manager, manager
    other = open_manager(model, on_busy="interrupt")
    return open_manager(model, delta_interval=0), other


def test_text_behind_a_tool_stays_with_what_that_did(
    open_manager: Open, teller: Teller, tools: ToolRegistry, paid: list[int]
) -> None:
    manager = open_manager(teller, tools, on_busy="interrupt", delta_interval=0)
    other = open_manager(teller, tools, on_busy="interrupt")
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "pay")
    shown = [event.text for event in (next(stream) for _ in range(6)) if event.text]
    assert shown[-1] == "upon "
    assert other.chat(session_id, "stop") == QUICK
    assert lines(other, session_id)[:4] == [
        "user:pay",
        "assistant:I will. ",
        "tool:order 7 is paid",
        "assistant:Once upon ",
    ]
    assert paid == [7]


def test_what_was_shown_before_a_silence_is_heard_elsewhere_and_stays(
    open_manager: Open, teller: Teller
) -> None:
    manager, other = open_manager(teller), open_manager(teller, on_busy="interrupt")
    session_id = manager.create_or_resume_session()
    manager.agent.submit(session_id, "tell", turn_id="story")
    assert other.chat(session_id, heard_whole(other, session_id)) == QUICK
    assert lines(other, session_id)[:2] == ["user:tell", "assistant:Once upon "]


def heard_whole(manager: SessionManager, session_id: str) -> str:
    """Watch the turn until all that its model said is heard; return another message."""
    text = ""
    for event in manager.watch(session_id, turn_id="story", timeout=LIMIT):
        text += event.text
        if text == "Once upon ":
            return "stop"
    raise AssertionError(text)


def test_what_was_shown_before_a_silence_is_heard_elsewhere_in_asyncio_too(
    open_manager: Open, store_url: str, teller: Teller
) -> None:
    other = open_manager(teller, on_busy="interrupt")
    session_id = other.create_or_resume_session()

    async def main() -> None:
        redis = RedisConfig(url=store_url)
        async with AsyncAgent(AgentConfig(model=teller), redis_config=redis) as agent:
            chat = asyncio.create_task(AsyncManager(agent).run(session_id, "tell", turn_id="story"))
            message = await asyncio.to_thread(heard_whole, other, session_id)
            assert await asyncio.to_thread(other.chat, session_id, message) == QUICK
            assert (await chat).text == "Once upon "

    asyncio.run(main())
    assert lines(other, session_id)[:2] == ["user:tell", "assistant:Once upon "]


def test_what_a_model_only_deliberates_is_replaced_whole(open_manager: Open) -> None:
    thinker = Teller(ReasoningDelta("Hmm. "))
    manager = open_manager(thinker, on_busy="interrupt", delta_interval=0)
    session_id = manager.create_or_resume_session()
    stream = manager.stream(session_id, "tell")
    assert [next(stream).type for _ in range(2)][-1] is EventType.REASONING_DELTA
    assert open_manager(thinker, on_busy="interrupt").chat(session_id, "stop") == QUICK
    assert lines(manager, session_id) == ["user:stop", f"assistant:{QUICK}"]
    stream.close()
    thinker.go_on.set()


class Scene:
    """A turn of which text was told, by a process that has died since."""

    def __init__(self, store_url: str, model: Any, **settings: Any) -> None:
        self.clock = ManualClock()
        config = AgentConfig(model=model, **settings)
        agent = SessionAgent(config, redis_config=RedisConfig(url=store_url), clock=self.clock)
        self.manager = SessionManager(agent.initialize())
        self.store = agent.store
        self.session_id = self.manager.create_or_resume_session()
        self.turn = self.store.begin_turn(self.session_id, "tell", turn_id="story")
        self.tell("Once ", "upon ")

    def tell(self, *pieces: str) -> None:
        for piece in pieces:
            self.turn = self.store.tell_text(self.turn, piece)

    def die(self) -> None:
        self.clock.advance(31)


def test_the_message_that_interrupts_a_turn_whose_process_died_keeps_what_it_said(
    store_url: str,
) -> None:
    scene = Scene(store_url, lambda messages: QUICK, on_busy="interrupt")
    with scene.manager.agent:
        scene.die()
        assert scene.manager.chat(scene.session_id, "stop") == QUICK
        assert lines(scene.manager, scene.session_id)[:2] == ["user:tell", "assistant:Once upon "]


def test_a_cancelled_turn_whose_process_died_keeps_what_it_said(store_url: str) -> None:
    scene = Scene(store_url, lambda messages: QUICK)
    with scene.manager.agent:
        assert scene.manager.cancel(scene.session_id)
        scene.die()
        assert scene.manager.chat(scene.session_id, "and?") == QUICK
        assert lines(scene.manager, scene.session_id)[:2] == ["user:tell", "assistant:Once upon "]


def test_a_turn_whose_process_died_is_answered_anew(store_url: str) -> None:
    scene = Scene(store_url, lambda messages: QUICK)
    with scene.manager.agent:
        scene.die()
        assert scene.manager.run(scene.session_id, "tell", turn_id="story").text == QUICK
        assert lines(scene.manager, scene.session_id) == ["user:tell", f"assistant:{QUICK}"]


@pytest.mark.parametrize("last", ["", "At the ", "a step"])
def test_a_turn_that_is_given_up_keeps_what_it_said_last(store_url: str, last: str) -> None:
    scene = Scene(store_url, lambda messages: QUICK)
    with scene.manager.agent:
        for number in range(3):
            scene.die()
            scene.turn = scene.store.begin_turn(scene.session_id, "next")
            assert scene.turn.resumed
            if number == 1 and last:
                scene.tell(last if last != "a step" else "I look. ")
        if last == "a step":
            scene.turn = scene.store.stage_step(scene.turn, [call("c1"), result("c1", "7")])
        scene.die()
        assert scene.manager.chat(scene.session_id, "next") == QUICK
        history = scene.manager.get_history(scene.session_id)
        left = history[-3]
        assert left["content"] == {"": "Once upon ", "At the ": "At the ", "a step": ""}[last]
        assert left["metadata"]["error"] == "TurnGivenUp"


def test_the_end_of_a_text_stays_of_which_events_have_lost_the_beginning(store_url: str) -> None:
    scene = Scene(store_url, lambda messages: QUICK, on_busy="interrupt")
    with scene.manager.agent:
        scene.tell(*(f"{number:05}" + "x" * 7995 for number in range(20)), "the end")
        scene.die()
        assert scene.manager.chat(scene.session_id, "stop") == QUICK
        kept = scene.manager.get_history(scene.session_id)[1]["content"]
        assert kept.startswith("…000")
        assert kept.endswith("xthe end")
        assert len(kept) > 64_000


def test_those_who_interrupt_at_the_same_time_do_not_hold_each_other_up(
    open_manager: Open, teller: Teller
) -> None:
    manager, other = two(open_manager, teller, "elsewhere")
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "tell", turn_id="story")
    heard_whole(other, session_id)

    def interrupt(number: int) -> str:
        try:
            return (manager, other)[number % 2].chat(session_id, f"stop {number}")
        except TurnSuperseded:  # by one of the others
            return QUICK

    with ThreadPoolExecutor(8) as pool:
        interrupting = [pool.submit(interrupt, number) for number in range(8)]
        assert [each.result(LIMIT) for each in interrupting] == [QUICK] * 8
    assert future.result(LIMIT).text == "Once upon "
    kept = lines(other, session_id)
    assert kept[:2] == ["user:tell", "assistant:Once upon "]
    assert len(kept) >= 4
    assert "user:tell" not in kept[1:]


def test_one_who_died_while_he_ended_a_turn_holds_the_message_up_for_moments(
    store_url: str,
) -> None:
    scene = Scene(store_url, lambda messages: QUICK, on_busy="interrupt")
    with scene.manager.agent:
        opened = scene.store.parts.turn_begin.begin_in_steps(
            scene.session_id, "stop", on_busy="interrupt", ends="", pauses=False
        )
        ending = at_once(opened)
        assert (ending.turn_id, ending.resumed) == ("story", True)
        scene.clock.advance(2.1)
        assert scene.manager.chat(scene.session_id, "stop!") == QUICK
        assert lines(scene.manager, scene.session_id)[:3] == [
            "user:tell",
            "assistant:Once upon ",
            "user:stop!",
        ]
