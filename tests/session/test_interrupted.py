"""Answers that are heard elsewhere while they are given, are cancelled, or break off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from miniagent_redis import (
    AgentConfig,
    Event,
    EventType,
    IncompleteResponse,
    RedisConfig,
    SessionAgent,
    SessionManager,
    SessionNotFound,
    ToolRegistry,
    TurnResult,
)
from miniagent_redis.llm import Finish, ModelEvent, ModelRequest, TextDelta, ToolCall
from miniagent_redis.runtime.clock import ManualClock
from tests.support.servers import RedisServer

Open = Callable[..., SessionManager]
WORDS = ["one ", "two ", "three"]
LIMIT = 20.0


class Speaker:
    """Says a word whenever it is let; keeps what it was asked."""

    def __init__(self, words: list[str] = WORDS, *, ends: bool = True) -> None:
        self.words, self.ends = words, ends
        self.may_speak = threading.Semaphore(0)
        self.asked: list[list[str]] = []

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        self.asked.append([message.text for message in request.messages])
        for word in self.words:
            assert self.may_speak.acquire(timeout=LIMIT)
            yield TextDelta(word)
        if self.ends:
            yield Finish()


def first_word(manager: SessionManager, speaker: Speaker) -> tuple[str, Future[TurnResult]]:
    """Return a new session, and its turn, of whose answer one word has been said."""
    session_id = manager.create_or_resume_session()
    spoken = threading.Event()
    manager.agent.callbacks.on(EventType.TEXT_DELTA, lambda event: spoken.set())
    future = manager.agent.submit(session_id, "Count!")
    speaker.may_speak.release()
    assert spoken.wait(LIMIT)
    return session_id, future


def texts(manager: SessionManager, session_id: str) -> list[str]:
    return [message["content"] for message in manager.get_history(session_id)]


def test_another_instance_hears_an_answer_while_it_is_given(open_manager: Open) -> None:
    speaker = Speaker()
    manager, elsewhere = open_manager(speaker, delta_interval=0), open_manager()
    session_id = manager.create_or_resume_session()
    watcher = elsewhere.watch(session_id, "", timeout=LIMIT)
    future = manager.agent.submit(session_id, "Count!")
    heard: list[Event] = []
    for event in watcher:
        heard.append(event)
        if event.type in (EventType.TURN_STARTED, EventType.TEXT_DELTA):
            speaker.may_speak.release()
        if event.type is EventType.AGENT_RESPONSE:
            break
    deltas = [event.text for event in heard if event.type is EventType.TEXT_DELTA]
    assert deltas == WORDS
    assert heard[-1].text == future.result(LIMIT).text == "one two three"


def test_tool_calls_are_heard_as_the_caller_sees_them(open_manager: Open) -> None:
    manager, elsewhere = open_manager(), open_manager()
    session_id = manager.create_or_resume_session()
    seen = [e for e in manager.stream(session_id, "What is 6 * 7?") if e.type.value[:4] == "tool"]
    heard = [e for e in elsewhere.watch(session_id, "", 0.05) if e.type.value[:4] == "tool"]
    assert [(e.type, e.data) for e in heard] == [(e.type, e.data) for e in seen]
    assert len(seen) == 2


@pytest.mark.parametrize("interval", [0, 1000, None])
def test_text_beside_tool_calls_is_heard_before_them(
    open_manager: Open, interval: float | None
) -> None:
    class Caller:
        def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
            yield TextDelta("Let me ")
            yield TextDelta("see.")
            if request.messages[-1].role == "user":
                yield ToolCall("1", "look")
            yield Finish()

    tools = ToolRegistry()
    tools.add(look)
    manager = open_manager(Caller(), tools, delta_interval=interval)
    session_id = manager.create_or_resume_session()
    manager.chat(session_id, "x")
    heard = list(manager.watch(session_id, "", 0.05))
    number = [event.type for event in heard].index(EventType.TOOL_CALL)
    before = [event.text for event in heard[:number] if event.type is EventType.TEXT_DELTA]
    assert "".join(before) == "Let me see."


def look() -> str:
    return "here"


def test_what_is_said_while_redis_is_away_is_heard_when_it_is_back(server: RedisServer) -> None:
    speaker, redis = Speaker(), RedisConfig(url=server.url)
    config = AgentConfig(model=speaker, delta_interval=0)
    with SessionAgent(config, redis_config=redis) as agent:
        manager = SessionManager(agent)
        session_id = manager.create_or_resume_session()
        speaker.may_speak.release(len(WORDS))
        for event in manager.stream(session_id, "Count!"):
            if event.text == "one ":
                server.kill()
            elif event.text == "two ":
                server.start()
        heard = manager.watch(session_id, "", 0.05)
        deltas = [event.text for event in heard if event.type is EventType.TEXT_DELTA]
    assert "".join(deltas) == "one two three"
    assert len(deltas) == 2


def test_a_model_is_not_heard_to_the_end_when_the_session_is_gone(open_manager: Open) -> None:
    speaker = Speaker(["word "] * 1000)
    manager = open_manager(speaker, delta_interval=0)
    session_id, future = first_word(manager, speaker)
    manager.end_session(session_id)
    speaker.may_speak.release(2)  # it would wait for the others
    with pytest.raises(SessionNotFound):
        future.result(LIMIT)


def test_a_cancelled_answer_is_kept_as_far_as_it_came(open_manager: Open) -> None:
    speaker = Speaker()
    manager, elsewhere = open_manager(speaker, delta_interval=0), open_manager()
    session_id, future = first_word(manager, speaker)
    assert not elsewhere.cancel(session_id, turn_id="another")
    assert elsewhere.cancel(session_id)
    speaker.may_speak.release()
    result = future.result(LIMIT)
    assert result.interrupted
    assert result.text in ("one ", "one two ")  # it hears at its next word, or at this one
    assert texts(manager, session_id) == ["Count!", result.text]
    assert not elsewhere.cancel(session_id)

    speaker.may_speak.release(4)  # one of them for the answer that was left
    assert manager.chat(session_id, "Go on") == "one two three"
    assert speaker.asked[1] == ["Count!", f"{result.text}\n[interrupted]", "Go on"]


def test_cancelling_while_tools_run_leaves_a_valid_thread(open_manager: Open) -> None:
    tools, started, may_end = ToolRegistry(), threading.Event(), threading.Event()

    @tools.tool
    def wait() -> str:
        started.set()
        may_end.wait(LIMIT)
        return "done"

    class Caller:
        def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
            yield TextDelta("Let me see. ")
            yield ToolCall("1", "wait")
            yield Finish("tool_calls")

    manager, elsewhere = open_manager(Caller(), tools), open_manager()
    session_id = manager.create_or_resume_session()
    future = manager.agent.submit(session_id, "Wait!")
    assert started.wait(LIMIT)
    assert elsewhere.cancel(session_id)
    result = future.result(LIMIT)  # though the tool still waits
    may_end.set()
    assert (result.text, result.interrupted) == ("", True)
    _, _, tool_result, _ = manager.get_history(session_id)
    assert tool_result["metadata"] == {"is_error": True}
    assert tool_result["content"].startswith("cancelled")
    assert elsewhere.chat(session_id, "Hello!").startswith("Hello")


def test_an_abandoned_turn_that_was_cancelled_is_not_worked_out(store_url: str) -> None:
    clock = ManualClock()

    def open_it(model: Any) -> SessionManager:
        config, redis = AgentConfig(model=model), RedisConfig(url=store_url)
        return SessionManager(SessionAgent(config, redis_config=redis, clock=clock).initialize())

    dead, speaker = open_it("demo"), Speaker(["mine"])
    session_id = dead.create_or_resume_session()
    dead.store.begin_turn(session_id, "Count!")
    assert dead.cancel(session_id)
    dead.agent.shutdown()
    clock.advance(31)
    manager = open_it(speaker)
    speaker.may_speak.release()
    assert manager.chat(session_id, "Hello!") == "mine"
    assert texts(manager, session_id) == ["Count!", "", "Hello!", "mine"]
    assert speaker.asked == [["Count!", "[interrupted]", "Hello!"]]
    manager.agent.shutdown()


def test_cancelling_what_does_not_run_does_nothing(open_manager: Open) -> None:
    manager = open_manager()
    session_id = manager.create_or_resume_session("ada")
    assert not manager.cancel(session_id)
    with pytest.raises(SessionNotFound):
        manager.cancel(session_id, user_id="eve")
    assert manager.chat(session_id, "Hello!")


@pytest.mark.parametrize("reply", ["no finish", "an exception"])
def test_an_answer_that_breaks_off_is_stored_as_interrupted(open_manager: Open, reply: str) -> None:
    class Broken(Speaker):
        def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
            yield from super().stream(request)
            if reply == "an exception":
                raise ValueError("cut")

    speaker: Any = Broken(WORDS[:2], ends=False)
    manager = open_manager(speaker)
    session_id = manager.create_or_resume_session()
    speaker.may_speak.release(2)
    with pytest.raises(IncompleteResponse) as caught:
        manager.chat(session_id, "Count!")
    assert caught.value.text == "one two "
    assert "stored" in caught.value.__notes__[0]
    question, answer = manager.get_history(session_id)
    assert (question["content"], answer["content"]) == ("Count!", "one two ")
    assert answer["metadata"]["interrupted"] == "incomplete"
    assert manager.store.session_state(session_id).open_turn is None
